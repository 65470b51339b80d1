//! Recording golden requests: what live traffic was answered becomes a file that an equal model passes and another does
//! not. Whatever is recorded, the live traffic notices nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use verdigris::checks::golden::Set;

use crate::support::{
    admin::{Admin, Reply},
    client::{Conn, get, once, request},
    config::Config,
    grpc_origin::GrpcOrigin,
    load::{Kind, Load, assert_no_failures},
    origin::Origin,
    proxy::Proxy,
    wait::{until, within},
    websocket::WebSocket,
};

const RECORD: &str = "/v1/services/iris/slots/blue/record";

/// A recording that runs beside the test.
struct Recording(JoinHandle<Reply>);

impl Recording {
    /// Begins one from blue's live traffic.
    async fn begin(admin: Admin, body: Value) -> Self {
        let task = tokio::spawn(async move { admin.call("POST", RECORD, Some(body)).await });
        until_under_way(admin, true).await;
        Self(task)
    }

    async fn end(self) -> Reply {
        within("the recording's end", self.0).await.unwrap()
    }

    /// Its end in good order.
    async fn file(self) -> (String, Value) {
        let reply = self.end().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        (reply.json["file"].as_str().unwrap().to_owned(), reply.json)
    }
}

async fn until_under_way(admin: Admin, wanted: bool) {
    until("the recording", || async move {
        let progress = admin.call("GET", RECORD, None).await.json;
        if progress["under_way"] == wanted { Ok(()) } else { Err(progress) }
    })
    .await;
}

/// How many were left out for a reason that has these words.
fn left_out(reply: &Value, words: &str) -> u64 {
    let all = reply["left_out"].as_array().unwrap();
    let matching = all.iter().filter(|one| one["reason"].as_str().unwrap().contains(words));
    matching.map(|one| one["count"].as_u64().unwrap()).sum()
}

fn infer(path: &str, fields: &str, body: &str) -> Vec<u8> {
    request("POST", path, &format!("content-type: application/json\r\n{fields}"), body.as_bytes())
}

const INPUT: &str = r#"{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.5]}]}"#;

/// A proxy whose gate has a golden file that every server passes, until another is put there.
async fn start(config: Config) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    let config = config.service(|service| service.tables.push_str("\n[service.gate]\ngolden = \"golden.jsonl\"\n"));
    std::fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    put(dir.path(), "{\"name\": \"any\", \"request\": {\"path\": \"/\"}, \"expect\": {}}\n");
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    proxy
}

fn put(dir: &std::path::Path, golden: &str) {
    std::fs::write(dir.join("golden.jsonl"), golden).unwrap();
}

/// The golden file is in force.
async fn enforce(proxy: &Proxy, golden: &str) {
    Set::parse(golden, "golden.jsonl").unwrap_or_else(|problems| panic!("{}", problems.render()));
    put(proxy.dir.path(), golden);
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

/// Fails when: in `proxy::copying`, a part of the exchange is not copied; in `control::recording::live`, the tap is not
/// filtered, or what it brings is not written; in `shadow::taps`, a tap stays.
#[tokio::test]
async fn live_traffic_becomes_a_set_that_an_equal_model_passes_and_another_does_not() {
    let (blue, green, pink) = (Origin::start("blue").await, Origin::start("green").await, Origin::start("pink").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let load = Load::start(proxy.addr, &[(Kind::Get, 2), (Kind::Post, 2), (Kind::Sse, 2), (Kind::WebSocket, 1)]);
    load.more(20).await;
    let recording = Recording::begin(proxy.admin, json!({"requests": 20, "path_prefix": "/rec"})).await;
    let mut conn = proxy.conn().await;
    for round in 0..5 {
        assert_eq!(conn.call(&infer("/rec/infer?do=infer", "x-team: a\r\n", INPUT)).await.status, 200);
        assert_eq!(conn.call(&infer("/rec/infer?do=infer", "", &format!("[{round}]"))).await.status, 200);
        assert_eq!(conn.call(&get("/rec/generate?do=sse&n=3")).await.status, 200);
        assert_eq!(conn.call(&get("/rec/missing?code=404")).await.status, 404);
    }
    let (file, reply) = recording.file().await;
    load.more(20).await;
    assert_no_failures(&load.finish().await);
    assert_eq!((&reply["recorded"], &reply["ended"], &reply["left_out"]), (&json!(20), &json!("done"), &json!([])));
    assert!(reply["seen"].as_u64().unwrap() > 20 && reply["matching"] == 20, "{reply}");
    assert_eq!((file.lines().count(), file.matches("\"tensors\":").count()), (21, 10), "{file}");
    assert_eq!((file.matches("\"done\":true").count(), file.matches("\"status\":404").count()), (5, 5), "{file}");
    assert!(file.contains("\"x-team\":\"a\"") && !file.contains("x-forwarded") && !file.contains("\"via\""), "{file}");
    until_under_way(proxy.admin, false).await;

    enforce(&proxy, &file).await;
    proxy.switch("green").await;
    let body = json!({"endpoints": [pink.url()], "version": "wrong"});
    assert_eq!(proxy.admin.put_slot("iris", "blue", body).await.status, 200);
    let refused = proxy.admin.try_switch("iris", json!({"to": "blue"})).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("10 of 20 golden requests passed"), "{}", refused.text);
}

/// Fails when: in `proxy::body`, trailers are not copied; in `checks::golden::record`, a call with several messages is
/// taken for a unary one.
#[tokio::test]
async fn unary_grpc_calls_are_recorded_and_streams_are_not() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = start(Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;
    let recording = Recording::begin(proxy.admin, json!({"requests": 2})).await;
    let channel = crate::support::grpc::Channel::open(proxy.addr).await;
    channel.call("ServerStream", &["3"]).await;
    channel.call("ClientStream", &["a", "b"]).await;
    for _ in 0..2 {
        assert_eq!(channel.call("Unary", &["hello"]).await.messages, ["blue:hello"]);
    }
    let (file, reply) = recording.file().await;
    assert_eq!(reply["recorded"], 2, "{reply}");
    assert_eq!(
        (file.matches("\"method\":\"/test.Echo/Unary\"").count(), file.matches("\"grpc_status\":\"OK\"").count()),
        (2, 2)
    );
    assert_eq!(left_out(&reply, "messages where there must be one"), 2, "{reply}");
    enforce(&proxy, &file).await;
    proxy.switch("green").await;
}

/// Fails when: in `checks::golden::record`, a credential or a named field is written, in whatever place it stands; in
/// `shadow`, the live request loses what the copy leaves out.
#[tokio::test]
async fn no_secret_is_in_the_file() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let asked = json!({"requests": 3, "redact": ["user", "X-Patient"]});
    let recording = Recording::begin(proxy.admin, asked).await;
    let fields = "authorization: Bearer s3cret\r\ncookie: id=s3cret\r\nx-api-key: s3cret\r\nx-team-token: s3cret\r\n\
                  x-patient: s3cret\r\nx-team: a\r\n";
    let body =
        r#"{"inputs": [], "user": "s3cret", "deep": [{"user": {"s3cret": 1}}], "args": "{\"user\": \"s3cret\"}"}"#;
    let mut conn = proxy.conn().await;
    conn.call(&infer("/infer?do=infer&user=s3cret&access_token=s3cret", fields, body)).await;
    conn.call(&request("POST", "/infer?do=infer", "content-type: text/csv\r\n", b"user,s3cret")).await;
    for _ in 0..2 {
        conn.call(&get("/infer?do=infer")).await;
    }
    let (file, reply) = recording.file().await;
    assert!(!reply.to_string().contains("s3cret"), "{reply}");
    assert!(file.contains("REDACTED") && file.contains("\"x-team\":\"a\""), "{file}");
    assert_eq!(left_out(&reply, "cannot be looked through for what is to be redacted"), 1, "{reply}");
    let seen = &blue.requests()[0];
    assert!(String::from_utf8_lossy(&seen.head).matches("s3cret").count() == 7, "{seen:?}");
    assert_eq!(seen.body, body.as_bytes());
    // What was redacted is another request: nothing is said of its values.
    assert_eq!(file.matches("\"data\":[0.1]").count(), 2, "{file}");
}

/// Fails when: in `control::recording::live`, no more copies may wait than are wanted, so that those which will be left out
/// crowd out the others.
#[tokio::test]
async fn what_is_left_out_does_not_crowd_out_what_is_wanted() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    for _ in 0..20 {
        let recording = Recording::begin(proxy.admin, json!({"requests": 1, "redact": ["user"]})).await;
        let mut clients = JoinSet::new();
        for n in 0..20 {
            let (addr, wanted) = (proxy.addr, n == 19);
            clients.spawn(async move {
                let unreadable = request("POST", "/infer?do=infer", "content-type: text/csv\r\n", b"user,s3cret");
                once(addr, &if wanted { get("/wanted") } else { unreadable }).await;
            });
        }
        clients.join_all().await;
        let (file, _) = recording.file().await;
        assert!(file.contains("/wanted"), "{file}");
    }
}

/// Fails when: in `control::recording::live`, live requests are sent again unasked, or not as the file has them.
#[tokio::test]
async fn live_requests_are_sent_again_only_if_that_is_asked_for() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    for (repeat, sent, values) in [(false, 1, 0), (true, 3, 1)] {
        let asked = json!({"requests": 1, "redact": ["user"], "repeat": repeat});
        let recording = Recording::begin(proxy.admin, asked).await;
        proxy.once(&infer("/infer?do=infer", "", r#"{"user": "s3cret"}"#)).await;
        let (file, _) = recording.file().await;
        assert_eq!((blue.hits(), file.matches("\"data\":[0.1]").count()), (sent, values), "{file}");
    }
    let bodies: Vec<_> = blue.requests().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(bodies[2], r#"{"user":"REDACTED"}"#);
}

/// Fails when: in `shadow::tee`, a bound does not hold; in `shadow::tap`, what is left out is not counted; in
/// `control::recording::live`, the time limit does not end it.
#[tokio::test]
async fn what_is_too_long_or_has_no_end_is_left_out() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let recording = Recording::begin(proxy.admin, json!({"timeout": "3s"})).await;
    let began = Instant::now();
    let mut endless = proxy.conn().await;
    endless.send(&get("/generate?do=steps&n=9")).await;
    endless.head().await;
    let mut conn = proxy.conn().await;
    let huge = vec![b'x'; 3 << 20];
    assert_eq!(conn.call(&request("POST", "/huge", "", &huge)).await.json()["body_len"], huge.len());
    assert_eq!(conn.call(&get("/big?do=big&bytes=20000000")).await.body.len(), 20_000_000);
    assert_eq!(conn.call(&get("/fine")).await.status, 200);
    assert_eq!(conn.call(&get("/sick?code=503")).await.status, 503);
    WebSocket::try_open(proxy.addr).await.unwrap().try_echo("frame").await.unwrap();
    let (file, mut reply) = recording.file().await;
    // It would drown what a failure has to say.
    reply["file"] = Value::Null;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(
        (&reply["recorded"], &reply["ended"], file.lines().count()),
        (&json!(1), &json!("timed_out"), 2),
        "{reply}"
    );
    for (words, count) in [
        ("its request is longer", 1),
        ("its answer is longer", 1),
        ("asked for an upgrade", 1),
        ("still under way", 1),
        ("the error 503", 1),
    ] {
        assert_eq!(left_out(&reply, words), count, "{words}: {reply}");
    }
    blue.shared.steps.add_permits(9);
    for _ in 0..9 {
        assert!(endless.event().await.unwrap().contains("blue"));
    }
}

/// Fails when: in `control::recording`, a recording outlives its caller, or two run on one slot; in `shadow::taps`, the tap
/// of one that was given up stays.
#[tokio::test]
async fn a_recording_ends_with_its_caller() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let mut caller = Conn::open(proxy.admin.addr).await;
    let head = format!("POST {RECORD} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", proxy.admin.addr);
    caller.send(head.as_bytes()).await;
    until_under_way(proxy.admin, true).await;
    let busy = proxy.admin.call("POST", RECORD, None).await;
    assert_eq!((busy.status, &busy.json["error"]), (409, &json!("busy")), "{}", busy.text);
    proxy.once(&get("/before")).await;
    drop(caller);
    until_under_way(proxy.admin, false).await;
    let recording = Recording::begin(proxy.admin, json!({"requests": 1})).await;
    proxy.once(&get("/after")).await;
    let (file, reply) = recording.file().await;
    assert!(file.contains("/after") && !file.contains("/before"), "{file}");
    assert_eq!(reply["seen"], 1, "{reply}");
}

/// Fails when: in `control::recording::live`, a switch does not end a recording, and what it has is lost.
#[tokio::test]
async fn a_switch_ends_a_recording_with_what_it_has() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let recording = Recording::begin(proxy.admin, json!({})).await;
    proxy.once(&get("/one")).await;
    until("one to be recorded", || async {
        let progress = proxy.admin.call("GET", RECORD, None).await.json;
        if progress["recorded"] == 1 { Ok(()) } else { Err(progress) }
    })
    .await;
    proxy.switch("green").await;
    proxy.once(&get("/two")).await;
    let (file, reply) = recording.file().await;
    assert_eq!((&reply["ended"], &reply["recorded"]), (&json!("slot_changed"), &json!(1)), "{reply}");
    assert!(file.contains("/one") && !file.contains("/two"), "{file}");
    let standby = proxy.admin.call("POST", RECORD, Some(json!({}))).await;
    assert_eq!((standby.status, &standby.json["error"]), (409, &json!("refused")), "{}", standby.text);
    assert!(standby.text.contains("--requests"), "{}", standby.text);
}

/// What is replayed reaches the server as the live request did. Fails when: in `proxy::copying`, the copy has the
/// service's edits (then `add` is made twice, and the prefix taken off twice); in `checks::ask`, they are not made.
#[tokio::test]
async fn a_recorded_request_reaches_the_server_as_the_live_one_did() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| {
        service.tables = "[service.request]\nstrip_prefix = \"/iris\"\nhost = \"model.test\"\n\
                          add = { x-added = \"1\" }\nset = { x-set = \"1\" }\nremove = [\"x-gone\"]\n"
            .to_owned();
    });
    let proxy = start(config).await;
    let recording = Recording::begin(proxy.admin, json!({"requests": 1})).await;
    let fields = "x-gone: 1\r\nx-set: 0\r\nx-added: 0\r\nx-kept: 1\r\n";
    proxy.once(&infer("/iris/iris/infer?do=infer&q=%7e", fields, INPUT)).await;
    let (file, _) = recording.file().await;
    enforce(&proxy, &file).await;
    let test = proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await;
    assert_eq!(test.json["gate"]["passed"], true, "{}", test.text);
    // Green is warmed up with the same request.
    let (live, replayed) = (blue.only_request(), green.requests().swap_remove(0));
    assert_eq!((&live.target, &live.method, &live.body), (&replayed.target, &replayed.method, &replayed.body));
    assert_eq!(live.target, "/iris/infer?do=infer&q=%7e");
    let fields = |seen: &crate::support::origin::Recorded| {
        let named =
            |name: &String| name.starts_with("x-") && !name.starts_with("x-forwarded") && name != "x-request-id";
        let all = seen.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let mut kept: Vec<_> =
            all.filter(|(name, _)| named(name) || name == "host" || name == "content-type").collect();
        kept.sort();
        kept
    };
    assert_eq!(fields(&live), fields(&replayed));
}

/// Fails when: in `control::recording::given`, a standby slot is not asked, the second answer does not tell what varies, or
/// a request that gets no answer stops the others.
#[tokio::test]
async fn given_requests_are_answered_by_a_standby_slot_too() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let given = format!(
        "{{\"golden\": 1, \"timeout\": \"400ms\"}}\n{}\n{}\n{}\n{}\n",
        json!({"name": "a", "request": {"path": "/infer?do=infer", "json": {"user": "s3cret"}}, "expect": {}}),
        json!({"path": "/infer?do=infer", "json": [1]}),
        json!({"path": "/hang?do=hang"}),
        json!({"request": {"grpc": {"method": "/s/M", "base64": ""}}}),
    );
    let path = "/v1/services/iris/slots/green/record";
    let reply = proxy.admin.call("POST", path, Some(json!({"given": given, "redact": ["user"]}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let file = reply.json["file"].as_str().unwrap();
    assert_eq!((&reply.json["recorded"], &reply.json["wanted"]), (&json!(2), &json!(4)), "{file}");
    assert!(file.contains("\"name\":\"a\"") && !file.contains("s3cret"), "{file}");
    // The redacted one was asked, too, so that its values may be told.
    assert_eq!(file.matches("\"data\":[0.1]").count(), 2, "{file}");
    assert_eq!(
        (left_out(&reply.json, "nothing within"), left_out(&reply.json, "speaks gRPC")),
        (1, 1),
        "{}",
        reply.text
    );
    assert_eq!((blue.hits(), green.hits()), (0, 5));
    enforce(&proxy, file).await;
    proxy.switch("green").await;

    let wrong = proxy.admin.call("POST", path, Some(json!({"given": "{\"path\": \"x\"}"}))).await;
    assert_eq!((wrong.status, wrong.json["problems"].as_array().unwrap().len()), (422, 1), "{}", wrong.text);
}

/// Fails when: in `app`, golden files are not watched; in `control::reload`, a broken one takes the place of a right one,
/// or the second way to be broken is passed over.
#[tokio::test]
async fn a_changed_golden_file_is_in_force_by_itself() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(Config::pair(&blue, &green)).await;
    let reload = || async { proxy.admin.list().await["proxy"]["reload"].clone() };
    for (broken, said) in [("{\"name\": 1}\n", "golden.jsonl:1:"), ("# a comment\n\nnonsense\n", "golden.jsonl:3:")] {
        put(proxy.dir.path(), broken);
        until("the broken file to be refused", || async {
            let status = reload().await;
            if status["ok"] == false && status.to_string().contains(said) { Ok(()) } else { Err(status) }
        })
        .await;
    }
    let test = proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await;
    assert_eq!(test.json["gate"]["passed"], true, "the old ones stay in force: {}", test.text);
    assert_eq!(proxy.metric("verdigris_reloads_total", &["refused"]).await, 2.0, "both were told, each once");
    put(proxy.dir.path(), "{\"name\": \"never\", \"request\": {\"path\": \"/\"}, \"expect\": {\"status\": 404}}\n");
    until("the right file to be in force", || async {
        let status = reload().await;
        if status["ok"] == true { Ok(()) } else { Err(status) }
    })
    .await;
    let test = proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await;
    assert_eq!(test.json["gate"]["passed"], false, "{}", test.text);
}
