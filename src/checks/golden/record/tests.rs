//! Recording: what is expected of which answer, that it passes with it, and that nothing named gets out.

use http::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Recorded, Recording, Redaction, Set};
use crate::checks::golden::{
    Answer, AnswerEnd, Request,
    samples::{TOOK, event_stream, headers, json_answer, v2},
};

fn post(path: &str, head: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Request {
    Request::new(Method::POST, path.parse().unwrap(), &headers(head), body.into())
}

fn of(request: Request, answer: Answer) -> Recorded {
    Recorded { name: None, request, answer, again: None }
}

fn asked(body: &Value, answer: Answer) -> Recorded {
    of(post("/x", &[("content-type", "application/json")], body.to_string()), answer)
}

/// The one line that was recorded, as JSON; it is right, and its answer passes.
fn line(exchange: &Recorded, redaction: &Redaction) -> Value {
    let recording = Set::record(std::slice::from_ref(exchange), redaction);
    assert_eq!((recording.count, recording.left_out.as_slice()), (1, &[][..]), "{}", recording.text);
    let set = Set::parse(&recording.text, "g").unwrap_or_else(|problems| panic!("{problems}\n{}", recording.text));
    for answer in std::iter::once(&exchange.answer).chain(&exchange.again) {
        let verdict = set.cases()[0].judge(answer);
        assert!(verdict.passed(), "{verdict}");
    }
    serde_json::from_str(recording.text.lines().nth(1).unwrap()).unwrap()
}

fn expectation(exchange: &Recorded) -> Value {
    line(exchange, &Redaction::default())["expect"].clone()
}

fn left_out(exchange: Recorded, redaction: &Redaction) -> String {
    let Recording { count, left_out, .. } = Set::record(&[exchange], redaction);
    assert_eq!((count, left_out.len()), (0, 1));
    left_out[0].reason.clone()
}

/// Fails when: an answer's kind is not seen, or more is asked of the next model than this one's answers agree in.
#[test]
fn sensible_expectations() {
    let tensor = expectation(&asked(&json!({}), v2("FP32", &[2], &json!([0.25, 0.5]))));
    let check = json!({ "datatype": "FP32", "shape": [2], "data": [0.25, 0.5], "rel": 1e-4, "abs": 1e-6 });
    assert_eq!(tensor, json!({ "status": 200, "tensors": { "out": check } }));
    let labels = expectation(&asked(&json!({}), v2("INT64", &[1], &json!([3]))));
    assert_eq!(labels["tensors"]["out"], json!({ "datatype": "INT64", "shape": [1], "data": [3] }));
    let embedding = json_answer(&json!({ "data": [{ "index": 0, "embedding": [0.5, 1.0] }] }));
    assert_eq!(
        expectation(&asked(&json!({}), embedding))["embeddings"],
        json!({ "cosine": 0.999, "data": [[0.5, 1.0]] })
    );
    let predictions = expectation(&asked(&json!({}), json_answer(&json!({ "predictions": [[0.5]] }))));
    assert_eq!(predictions["tensors"]["predictions"]["data"], json!([0.5]));
    let other =
        expectation(&asked(&json!({}), json_answer(&json!({ "id": "7f", "object": "list", "n": 1, "a b": 1 }))));
    assert_eq!(
        other["json"],
        json!({ "$.id": { "type": "string" }, "$.n": { "type": "number" }, "$.object": { "type": "string" } })
    );
    let refused = Answer { status: 422, ..json_answer(&json!({ "detail": "x" })) };
    assert_eq!(expectation(&asked(&json!({}), refused)), json!({ "status": 422 }));
}

/// Fails when: a text that chance made is asked of the next model, or one that is certain is not.
#[test]
fn a_text_only_where_it_is_certain() {
    let chat = |text: &str| json_answer(&json!({ "id": text, "choices": [{ "message": { "content": text } }] }));
    let greedy = asked(&json!({ "temperature": 0 }), chat("blue"));
    assert_eq!(expectation(&greedy)["text"], json!({ "edit_distance": { "to": "blue", "max_ratio": 0.1 } }));
    let by_chance = asked(&json!({}), chat("blue"));
    assert_eq!(
        expectation(&by_chance),
        json!({ "status": 200, "json": { "$.id": { "type": "string" }, "$.choices": { "type": "array" } } })
    );
    let same_again = Recorded { again: Some(chat("blue")), ..by_chance.clone() };
    assert_eq!(expectation(&same_again)["text"]["edit_distance"]["to"], "blue");
    let other_again = Recorded { again: Some(chat("green")), ..greedy };
    assert_eq!(expectation(&other_again).get("text"), None);
    let stream = event_stream(&[("data: {\"text_output\":\"hi\"}\n\n", 1), ("data: [DONE]\n\n", 2)]);
    let streamed = Recorded { again: Some(stream.clone()), ..asked(&json!({}), stream) };
    let expect = expectation(&streamed);
    assert_eq!(expect["stream"], json!({ "complete": true, "done": true, "min_tokens": 1 }));
    assert_eq!(expect["text"]["edit_distance"]["to"], "hi");
    let drifting =
        Recorded { again: Some(v2("FP32", &[1], &json!([0.7]))), ..asked(&json!({}), v2("FP32", &[1], &json!([0.5]))) };
    assert_eq!(expectation(&drifting)["tensors"]["out"], json!({ "datatype": "FP32", "shape": [1] }));
}

/// Fails when: an answer that is no example gets into a file, or two requests get one name.
#[test]
fn what_is_no_example_is_left_out() {
    let none = Redaction::default();
    let answer = json_answer(&json!({}));
    let cut = Answer { end: AnswerEnd::Cut("reset".into()), ..answer.clone() };
    assert_eq!(left_out(asked(&json!({}), cut), &none), "its answer is not complete");
    assert_eq!(
        left_out(asked(&json!({}), Answer { status: 503, ..answer.clone() }), &none),
        "its answer is the error 503"
    );
    let other = Recorded { again: Some(Answer { status: 404, ..answer.clone() }), ..asked(&json!({}), answer.clone()) };
    assert_eq!(left_out(other, &none), "its answers differ even in kind");
    let recording = Set::record(&[asked(&json!({}), answer.clone()), asked(&json!({}), answer)], &none);
    let set = Set::parse(&recording.text, "g").unwrap();
    assert_eq!(set.cases().iter().map(|case| case.name()).collect::<Vec<_>>(), ["POST /x", "POST /x (2)"]);
}

/// Fails when: a request that is sent again is another one.
#[test]
fn a_request_comes_back() {
    let bodies: [(&[u8], &str); 5] = [
        (b"{\n  \"b\": 1.50,\r\n \"a\": \"x\\ny\"\n}", "application/json"),
        (b"a=1&b=2", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "image/png"),
        (b"line one\nline two \"quoted\"", "text/plain"),
        (b"", "text/plain"),
    ];
    for (body, content_type) in bodies {
        let sent = post(
            "/x?y=1",
            &[("content-type", content_type), ("x-tag", "a"), ("x-tag", "b"), ("host", "h"), ("content-length", "9")],
            body,
        );
        let recording = Set::record(&[of(sent.clone(), json_answer(&json!({})))], &Redaction::default());
        let set = Set::parse(&recording.text, "g").unwrap_or_else(|problems| panic!("{problems}\n{}", recording.text));
        let read = set.cases()[0].request();
        assert_eq!((&read.method, &read.path, &read.headers), (&sent.method, &sent.path, &sent.headers));
        assert!(!sent.headers.contains_key("host") && !sent.headers.contains_key("content-length"));
        let flat = |bytes: &[u8]| {
            if content_type == "application/json" {
                String::from_utf8_lossy(bytes).replace(['\n', '\r'], " ").into_bytes()
            } else {
                bytes.to_vec()
            }
        };
        assert_eq!(read.body, flat(body));
    }
    let grpc = json!({ "name": "g", "request": { "grpc": { "method": super::super::grpc::INFER_PATH, "metadata": { "x-a": "1" },
        "message": { "model_name": "m", "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [0.5] }] } } }, "expect": {} });
    let set = Set::parse(&grpc.to_string(), "g").unwrap();
    let trailers = headers(&[("grpc-status", "0")]);
    let answer = Answer { trailers, ..Answer::whole(200, HeaderMap::new(), super::super::grpc::frame(b""), TOOK) };
    let written = line(&of(set.cases()[0].request().clone(), answer), &Redaction::default());
    assert_eq!(written["request"], grpc["request"]);
    assert_eq!(written["expect"]["grpc_status"], "OK");
}

/// Fails when: a named field, header, parameter or tensor, or a credential, gets into a file.
#[test]
fn what_is_named_does_not_get_out() {
    let names = Redaction::of(["SSN", "patient", "x-user", "token"]);
    let secret = "5117";
    let head = [
        ("content-type", "application/json"),
        ("authorization", "Bearer 5117"),
        ("cookie", "5117"),
        ("X-User", "5117"),
        ("x-forwarded-for", "5117"),
        ("x-api-key", "5117"),
        ("accept", "a/b"),
    ];
    let body = json!({
        "inputs": [{ "name": "ssn", "datatype": "INT32", "shape": [1], "data": [5117] }, { "name": "b", "data": [{ "Patient": { "5117": "5117" } }] }],
        "deep": [[{ "ssn": ["5117", 5117, true] }]], "arguments": "{\"to\": [{\"ssn\": \"5117\"}]}",
    });
    let answer = json_answer(
        &json!({ "outputs": [{ "name": "ssn", "datatype": "INT32", "shape": [1], "data": [5117] }], "ssn": "5117" }),
    );
    let exchange = of(post("/x?token=5117&a=1", &head, body.to_string()), answer);
    let written = line(&exchange, &names);
    assert!(!written.to_string().contains(secret), "{written}");
    assert_eq!(written["request"]["headers"], json!({ "content-type": "application/json", "accept": "a/b" }));
    assert_eq!(written["request"]["path"], "/x?token=REDACTED&a=1");
    assert_eq!(written["request"]["json"]["deep"], json!([[{ "ssn": ["REDACTED", 0, false] }]]));
    assert_eq!(written["expect"]["tensors"]["ssn"], json!({ "datatype": "INT32", "shape": [1] }));
    for opaque in [
        post("/x", &[], "ssn=5117"),
        post("/x", &[("inference-header-content-length", "2")], "{}5117"),
        post("/s/M", &[("content-type", "application/grpc")], &b"\0\0\0\0\x045117"[..]),
    ] {
        assert!(left_out(of(opaque, json_answer(&json!({}))), &names).contains("cannot be looked through"));
    }
    let named_text = event_stream(&[("data: {\"text_output\":\"5117\"}\n\n", 1)]);
    let streamed = Recorded { again: Some(named_text.clone()), ..asked(&json!({}), named_text) };
    let written = line(&streamed, &Redaction::of(["text_output"]));
    assert!(!written.to_string().contains(secret), "{written}");
}

/// Fails when: values are expected of an answer to a request that the file does not have, or not even of one that it has.
#[test]
fn a_request_that_was_changed_is_another_one() {
    let names = Redaction::of(["user"]);
    let answer = || v2("FP32", &[1], &json!([0.5]));
    let changed = asked(&json!({ "user": "5117" }), answer());
    assert_eq!(line(&changed, &names)["expect"]["tensors"]["out"].get("data"), None);
    let in_query = of(post("/x?user=5117", &[], ""), answer());
    assert_eq!(line(&in_query, &names)["expect"]["tensors"]["out"].get("data"), None);
    let repeated = Recorded { again: Some(answer()), ..changed };
    assert_eq!(line(&repeated, &names)["expect"]["tensors"]["out"]["data"], json!([0.5]));
    let same = asked(&json!({ "other": 1 }), answer());
    assert_eq!(line(&same, &names)["expect"]["tensors"]["out"]["data"], json!([0.5]));
}

/// Fails when: what is sent once more is not what the file has.
#[test]
fn what_is_replayed_is_what_the_file_has() {
    let head =
        [("authorization", "x"), ("x-session-id", "x"), ("x-max-tokens", "9"), ("content-type", "application/json")];
    let request = post("/x?api_key=k&b=1", &head, "{\"user\": \"5117\", \"n\": 1.50}");
    let replayed = Redaction::of(["user"]).replayable(&request).unwrap();
    assert_eq!(
        (replayed.path.as_str(), &replayed.body[..]),
        ("/x?api_key=REDACTED&b=1", &br#"{"n":1.5,"user":"REDACTED"}"#[..])
    );
    let mut names: Vec<_> = replayed.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "x-max-tokens"]);
    Redaction::of(["user"]).replayable(&post("/x", &[], "a,b")).unwrap_err();
}

/// Fails when: an answer that nobody can look into gets into a file as if it said nothing.
#[test]
fn a_compressed_answer_is_no_example() {
    let squeezed = |mut answer: Answer| {
        answer.headers.insert("content-encoding", "gzip".parse().unwrap());
        answer
    };
    let none = Redaction::default();
    let plain = v2("FP32", &[1], &json!([0.5]));
    assert!(left_out(asked(&json!({}), squeezed(plain.clone())), &none).contains("compressed (gzip)"));
    let mut repeated = Recorded { again: Some(plain.clone()), ..asked(&json!({}), squeezed(plain)) };
    repeated.prefer_plain();
    assert_eq!(expectation(&repeated)["tensors"]["out"]["data"], json!([0.5]));
    let two = Answer {
        trailers: headers(&[("grpc-status", "0")]),
        ..Answer::whole(200, HeaderMap::new(), &b"\0\0\0\0\0\0\0\0\0\0"[..], TOOK)
    };
    let call = post("/s/M", &[("content-type", "application/grpc")], &b"\0\0\0\0\0"[..]);
    assert!(left_out(of(call, two), &none).contains("2 messages"), "a stream");
}

fn data_of(datatype: &'static str) -> BoxedStrategy<Value> {
    let element = match datatype {
        "BYTES" => any::<String>().prop_map(|text| json!(text)).boxed(),
        "INT64" => any::<i64>().prop_map(|number| json!(number)).boxed(),
        "BOOL" => any::<bool>().prop_map(|truth| json!(truth)).boxed(),
        _ => prop_oneof![Just(0.0), -1e30..1e30, any::<f64>()].prop_map(|number| json!(number)).boxed(),
    };
    prop::collection::vec(element, 0..8).prop_map(|values| json!(values)).boxed()
}

proptest! {
    /// Fails when: a recorded answer does not pass the expectation that was made from it.
    #[test]
    fn a_recorded_answer_passes(
        (datatype, data) in prop_oneof![Just("FP16"), Just("FP32"), Just("FP64"), Just("BYTES"), Just("INT64"), Just("BOOL")]
            .prop_flat_map(|datatype| (Just(datatype), data_of(datatype))),
        text in any::<String>(),
        plain in any::<String>(),
    ) {
        let count = data.as_array().map_or(0, Vec::len);
        let chat = json_answer(&json!({ "choices": [{ "message": { "content": text } }] }));
        let body = Answer::whole(200, headers(&[]), plain, TOOK);
        let vectors = json_answer(&json!({ "data": [{ "embedding": data }] }));
        for answer in [v2(datatype, &[count], &data), json_answer(&json!({ "predictions": data })), chat, body, vectors] {
            let twice = Recorded { again: Some(answer.clone()), ..asked(&json!({ "a": text }), answer) };
            line(&twice, &Redaction::default());
            line(&twice, &Redaction::of(["content"]));
        }
    }
}

/// Fails when: a recorder keeps something of each request that it leaves out, of which there may be millions.
#[test]
fn what_is_left_out_leaves_nothing_behind() {
    let mut recorder = super::Recorder::new(Redaction::default());
    let cut = Answer { status: 503, ..json_answer(&json!({})) };
    for _ in 0..100 {
        assert!(recorder.add(&asked(&json!({}), cut.clone())).is_err());
    }
    recorder.add(&asked(&json!({}), json_answer(&json!({})))).unwrap();
    let Recording { text, count, left_out } = recorder.finish();
    assert_eq!((count, left_out.len()), (1, 0));
    assert!(!text.contains("(2)"), "the name was free: {text}");
}
