//! Messages: their bytes on the wire, JSON to and from them, and whole answers.

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::{Value, json};

use super::{
    INFER_PATH, STREAM_INFER_PATH, body_message, decode_request, encode_request, frame,
    messages::{
        InferParameter, InferTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
        ModelStreamInferResponse, ParameterChoice,
    },
    response_json,
};
use crate::checks::golden::{
    Answer, Outcome, RequestKind, Set,
    samples::{TOOK, headers},
};

fn encoded(message: &Value) -> ModelInferRequest {
    ModelInferRequest::decode(encode_request(message).unwrap()).unwrap()
}

fn input(datatype: &str, data: &Value) -> Value {
    json!({ "model_name": "m", "inputs": [{ "name": "x", "datatype": datatype, "shape": [2], "data": data }] })
}

/// Fails when: a field has another number or wire type. The bytes are written out by hand from the protocol's file.
#[test]
fn the_wire_form() {
    let message = json!({
        "model_name": "m", "model_version": "1", "id": "i",
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0] }],
        "outputs": [{ "name": "y" }],
    });
    let contents = [&[0x32, 8][..], &1.0_f32.to_le_bytes(), &2.0_f32.to_le_bytes()].concat();
    let tensor = [&b"\x0a\x01x\x12\x04FP32\x1a\x02\x01\x02\x2a\x0a"[..], &contents].concat();
    let expected = [&b"\x0a\x01m\x12\x011\x1a\x01i\x2a\x19"[..], &tensor, b"\x32\x03\x0a\x01y"].concat();
    assert_eq!(tensor.len(), 0x19);
    assert_eq!(encode_request(&message).unwrap(), expected);
    let raw = json!({ "inputs": [{ "name": "x", "datatype": "BOOL", "shape": [1] }], "raw_input_contents": ["AQ=="] });
    assert!(encode_request(&raw).unwrap().ends_with(b"\x3a\x01\x01"));
}

/// Fails when: a datatype's values go into contents of another one.
#[test]
fn the_datatype_decides_the_contents() {
    let contents = |datatype: &str, data: Value| encoded(&input(datatype, &data)).inputs[0].contents.clone().unwrap();
    let none = InferTensorContents::default;
    assert_eq!(
        contents("BOOL", json!([true, false])),
        InferTensorContents { bool_contents: vec![true, false], ..none() }
    );
    for datatype in ["INT8", "INT16", "INT32"] {
        assert_eq!(contents(datatype, json!([-1, 2])), InferTensorContents { int_contents: vec![-1, 2], ..none() });
    }
    for datatype in ["UINT8", "UINT16", "UINT32"] {
        assert_eq!(contents(datatype, json!([1, 2])), InferTensorContents { uint_contents: vec![1, 2], ..none() });
    }
    assert_eq!(contents("INT64", json!([-1, 2])), InferTensorContents { int64_contents: vec![-1, 2], ..none() });
    assert_eq!(
        contents("UINT64", json!([u64::MAX, 2])),
        InferTensorContents { uint64_contents: vec![u64::MAX, 2], ..none() }
    );
    assert_eq!(contents("FP64", json!([0.1, 2])), InferTensorContents { fp64_contents: vec![0.1, 2.0], ..none() });
    assert_eq!(
        contents("BYTES", json!(["a", "b"])),
        InferTensorContents { bytes_contents: vec![b"a".into(), b"b".into()], ..none() }
    );
    let half = encoded(&input("FP16", &json!([1, 2])));
    assert_eq!((half.inputs[0].contents.clone(), half.raw_input_contents), (None, vec![vec![0, 0x3c, 0, 0x40].into()]));
}

/// Fails when: a message that makes no sense is sent.
#[test]
fn wrong_messages_are_refused() {
    for (message, reason) in [
        (json!([]), "not an object"),
        (json!({ "model": "m" }), "unknown key \"model\""),
        (json!({ "model_name": 1 }), "\"model_name\" is not a string"),
        (json!({ "inputs": {} }), "\"inputs\" is not an array"),
        (json!({ "inputs": [{ "datatype": "FP8" }] }), "unknown datatype"),
        (input("FP32", &json!([1])), "asks for 2 values, there are 1"),
        (input("UINT8", &json!([1, 256])), "256 is not UINT8"),
        (json!({ "inputs": [{ "name": "x", "datatype": "BOOL", "shape": [1] }] }), "an input has no `data`"),
        (json!({ "raw_input_contents": ["AQ=="] }), "one entry for each input"),
        (json!({ "raw_input_contents": ["?"] }), "base64"),
        (json!({ "parameters": { "a": [] } }), "neither a string"),
        (json!({ "inputs": [{ "name": "x", "datatype": "BOOL", "shape": [-1], "data": [] }] }), "not a list of sizes"),
    ] {
        let error = encode_request(&message).unwrap_err();
        assert!(error.contains(reason), "{message}: {error}");
    }
}

/// Fails when: a message changes on its way through a file.
#[test]
fn a_request_comes_back() {
    for message in [
        input("FP32", &json!([0.5, -2.0])),
        input("BYTES", &json!(["a", "b"])),
        input("UINT64", &json!([u64::MAX, 0])),
        input("BOOL", &json!([true, false])),
        input("BF16", &json!([1.0, -2.0])),
        json!({ "model_name": "m", "model_version": "2", "id": "i", "parameters": { "a": true, "b": -1, "c": "x", "d": 0.5, "e": u64::MAX },
            "inputs": [{ "name": "x", "datatype": "INT64", "shape": [0], "data": [], "parameters": { "k": 1 } }],
            "outputs": [{ "name": "y", "parameters": { "binary": false } }, { "name": "z" }] }),
    ] {
        assert_eq!(decode_request(&encode_request(&message).unwrap()), Ok(message));
    }
    assert!(decode_request(b"\xff").is_err());
    assert!(decode_request(&encode_request(&json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1] }], "raw_input_contents": ["AADAfw=="] })).unwrap()).unwrap_err().contains("JSON cannot hold"));
}

fn response(raw: bool) -> ModelInferResponse {
    let tensor = |name: &str, datatype: &str, contents: InferTensorContents| InferTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![2],
        parameters: BTreeMap::new(),
        contents: (!raw).then_some(contents),
    };
    let none = InferTensorContents::default;
    let scores = [0.25_f32.to_le_bytes(), 0.75_f32.to_le_bytes()].concat();
    let labels = [1_i64.to_le_bytes(), 2_i64.to_le_bytes()].concat();
    ModelInferResponse {
        model_name: "m".into(),
        parameters: BTreeMap::from([("p".into(), InferParameter { choice: Some(ParameterChoice::Int64(3)) })]),
        outputs: vec![
            tensor("scores", "FP32", InferTensorContents { fp32_contents: vec![0.25, 0.75], ..none() }),
            tensor("labels", "INT64", InferTensorContents { int64_contents: vec![1, 2], ..none() }),
        ],
        raw_output_contents: if raw { vec![scores.into(), labels.into()] } else { Vec::new() },
        ..ModelInferResponse::default()
    }
}

/// A call of `ModelInfer`, judged by what came back.
fn judge(expect: &Value, message: &[u8], trailers: &[(&str, &str)]) -> Vec<String> {
    judge_call(INFER_PATH, expect, message, trailers)
}

fn judge_call(method: &str, expect: &Value, message: &[u8], trailers: &[(&str, &str)]) -> Vec<String> {
    let grpc = json!({ "method": method, "message": { "model_name": "m" } });
    let line = json!({ "name": "a", "request": { "grpc": grpc }, "expect": expect }).to_string();
    let set = Set::parse(&line, "g").unwrap_or_else(|problems| panic!("{problems}"));
    let answer = Answer { trailers: headers(trailers), ..Answer::whole(200, headers(&[]), message.to_vec(), TOOK) };
    let verdict = set.cases()[0].judge(&answer);
    if verdict.outcome == Outcome::Passed { Vec::new() } else { verdict.evidence() }
}

/// Fails when: an answer's tensors are read otherwise than over HTTP, or a bad status passes.
#[test]
fn answers_are_judged_as_over_http() {
    let good = json!({
        "tensors": { "scores": { "datatype": "FP32", "data": [0.25, 0.7501], "abs": 0.001 }, "labels": { "data": [1, 2] } },
        "json": { "$.outputs[?@.name==\"labels\"].data[1]": 2, "$.parameters.p": 3 },
    });
    for raw in [false, true] {
        let body = frame(&response(raw).encode_to_vec());
        assert_eq!(judge(&good, &body, &[("grpc-status", "0")]), Vec::<String>::new());
        let bad = json!({ "tensors": { "labels": { "data": [1, 3] } }, "message_base64": "" });
        let said = judge(&bad, &body, &[("grpc-status", "0")]).join("\n");
        assert!(said.contains("tensors.labels.data at [1]: expected 3, found 2"), "{said}");
        assert!(said.contains("message_base64: expected a message of 0 bytes, found "), "{said}");
        assert_eq!(response_json(&response(raw)).unwrap()["outputs"][0]["data"], json!([0.25, 0.75]));
    }
    let said = judge(&good, &[], &[("grpc-status", "5"), ("grpc-message", "no model")]);
    assert_eq!(said, ["grpc_status: expected OK, found NOT_FOUND: no model"]);
    assert!(judge(&json!({ "grpc_status": ["NOT_FOUND", 0] }), &[], &[("grpc-status", "5")]).is_empty());
    assert!(judge(&json!({}), &[], &[])[0].contains("no gRPC status in an answer with HTTP status 200"));
    for (body, reason) in [
        (&b"\x00\x00\x00"[..], "3 bytes that are no message"),
        (b"\x01\x00\x00\x00\x00", "compression flag 1"),
        (b"\x00\x00\x00\x00\x09a", "says 9 bytes and has 1"),
        (b"", "0 messages"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "2 messages"),
        (b"\x00\x00\x00\x00\x01\xff", "no ModelInferResponse"),
    ] {
        let said = judge(&good, body, &[("grpc-status", "0")]).join("\n");
        assert!(said.contains(reason), "{said}");
    }
    let uneven = ModelInferResponse { raw_output_contents: vec![vec![0].into()], ..response(true) };
    let said = judge(&good, &frame(&uneven.encode_to_vec()), &[("grpc-status", "0")]).join("\n");
    assert!(said.contains("2 tensors, but raw contents for 1"), "{said}");
}

/// Fails when: an answer of a stream is left out, `tensors` looks at another one than the last with outputs, or an error
/// within the stream passes because the call ends well.
#[test]
fn all_answers_of_a_stream_are_judged() {
    let ok = [("grpc-status", "0")];
    let part = |response: Option<ModelInferResponse>, error: &str| {
        let answer = ModelStreamInferResponse { error_message: error.to_owned(), infer_response: response };
        frame(&answer.encode_to_vec()).to_vec()
    };
    let first =
        ModelInferResponse { raw_output_contents: vec![vec![0; 8].into(), vec![0; 16].into()], ..response(true) };
    let end = ModelInferResponse { model_name: "m".into(), ..ModelInferResponse::default() };
    let body = [part(Some(first), ""), part(Some(response(false)), ""), part(Some(end), "")].concat();
    let judge = |expect: Value, body: &[u8]| judge_call(STREAM_INFER_PATH, &expect, body, &ok);
    let good = json!({
        "tensors": { "labels": { "data": [1, 2] } },
        "json": {
            "$.answers": { "type": "array", "length": 3 },
            "$.answers[0].outputs[?@.name==\"labels\"].data[*]": 0,
            "$.answers[-1].outputs": { "length": 0 },
        },
    });
    assert_eq!(judge(good, &body), Vec::<String>::new());
    let said = judge(json!({ "tensors": { "labels": { "data": [0, 0] } } }), &body).join("\n");
    assert!(said.contains("tensors.labels.data at [0]: expected 0, found 1"), "{said}");

    let failed = [body.clone(), part(None, "out of memory")].concat();
    assert_eq!(
        judge(json!({}), &failed),
        ["grpc_status: expected OK, found an answer that is an error: out of memory"]
    );
    assert!(judge(json!({}), &body).is_empty() && judge(json!({}), b"").is_empty());
    let said = judge(json!({ "tensors": { "labels": {} } }), b"").join("\n");
    assert!(said.contains("0 answers, none of them with outputs"), "{said}");
    let said = judge(json!({ "json": { "$.answers[0]": { "type": "object" } } }), &frame(b"\xff")).join("\n");
    assert!(said.contains("no ModelStreamInferResponse"), "{said}");
}

/// Fails when: a call lacks what gRPC needs, or a message of another method is looked into.
#[test]
fn a_call_is_ready_to_be_sent() {
    let line = json!({ "name": "a", "request": { "grpc": { "method": "/s/M", "metadata": { "x-a": "1" }, "base64": "aGk=" } }, "expect": {} });
    let set = Set::parse(&line.to_string(), "g").unwrap();
    let request = set.cases()[0].request();
    assert_eq!((request.kind, request.method.as_str(), request.path.as_str()), (RequestKind::Grpc, "POST", "/s/M"));
    assert_eq!(request.headers, headers(&[("x-a", "1"), ("content-type", "application/grpc"), ("te", "trailers")]));
    assert_eq!(body_message(&request.body), Ok(&b"hi"[..]));
    let judged =
        json!({ "name": "a", "request": { "grpc": { "method": "M", "base64": "" } }, "expect": { "grpc_status": 0 } });
    let problems = Set::parse(&judged.to_string(), "g").unwrap_err().lines();
    assert!(problems.len() == 1 && problems[0].contains("\"M\" is not a path"), "{problems:?}");
    let wrong = line.to_string().replace("\"base64\":\"aGk=\"", "\"message\":{}");
    assert!(Set::parse(&wrong, "g").unwrap_err().to_string().contains("are understood in JSON"));
}
