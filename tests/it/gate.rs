//! What a gate asks of a model besides readiness: golden requests, the contract, several answers in a row. Whatever it
//! finds, the live traffic notices nothing.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    client::{Conn, get},
    config::Config,
    grpc_origin::GrpcOrigin,
    load::{Kind, Load, assert_no_failures},
    origin::{Origin, Ready, Trouble},
    proxy::Proxy,
};

/// What a model that is right answers: its colour, on three ways.
pub(crate) const GOLDEN: &str = r#"{"golden": 1, "need": "2 of 3", "timeout": "20s", "answer_max": "1 MiB"}
{"name": "get", "request": {"path": "/v2/models/iris/infer"}, "expect": {"json": {"$.colour": "green"}}}
{"name": "post", "request": {"path": "/v2/models/iris/infer", "json": {"inputs": []}}, "expect": {"json": {"$.colour": "green", "$.body_len": 14}}}
{"name": "stream", "request": {"path": "/generate?do=sse&n=3"}, "expect": {"stream": {"complete": true, "done": true}}}
"#;

const CLIENTS: &[(Kind, usize)] = &[(Kind::Get, 2), (Kind::Post, 2), (Kind::Sse, 2), (Kind::WebSocket, 1)];

/// One service whose gate has these keys, and a golden file beside the configuration.
pub(crate) async fn start(blue: &Origin, green: &[&Origin], gate: &str, golden: &str) -> Proxy {
    in_dir(&config(blue, green, gate), golden).await
}

/// This configuration, and a golden file beside it.
pub(crate) async fn in_dir(config: &Config, golden: &str) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    std::fs::write(dir.path().join("golden.jsonl"), golden).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    proxy
}

/// A server with a gRPC port of its own.
type WithGrpc = (Origin, GrpcOrigin);

async fn pairs() -> (WithGrpc, WithGrpc) {
    (
        (Origin::start("blue").await, GrpcOrigin::start("blue").await),
        (Origin::start("green").await, GrpcOrigin::start("green").await),
    )
}

/// The same as `start`, for such servers.
async fn start_pairs(blue: &WithGrpc, green: &WithGrpc, golden: &str) -> Proxy {
    let config = Config::pair_with_grpc((&blue.0, &blue.1), (&green.0, &green.1));
    let config = config.service(|service| service.tables = format!("[service.gate]\n{WITH_GOLDEN}\n"));
    in_dir(&config, golden).await
}

fn config(blue: &Origin, green: &[&Origin], gate: &str) -> Config {
    Config::pair(blue, green[0]).service(|service| {
        let urls: Vec<_> = green.iter().map(|origin| format!("\"{}\"", origin.url())).collect();
        service.green = urls.join(", ");
        service.tables = format!("[service.gate]\n{gate}\n");
    })
}

pub(crate) const WITH_GOLDEN: &str = "golden = \"golden.jsonl\"";

/// The step of that name, in words: its result and its evidence.
pub(crate) fn step(gate: &Value, name: &str) -> (String, String) {
    let steps = gate["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name}: {gate}"));
    let lines: Vec<_> = step["evidence"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    (step["result"].as_str().unwrap().to_owned(), lines.join("\n"))
}

/// A switch to green that must be refused, while a load on blue loses nothing; the gate's report.
pub(crate) async fn refused(proxy: &Proxy) -> Value {
    let load = Load::start(proxy.addr, CLIENTS);
    load.more(20).await;
    let reply = proxy.admin.try_switch("iris", json!({"to": "green"})).await;
    load.more(20).await;
    let samples = load.finish().await;
    assert_no_failures(&samples);
    assert_eq!((reply.status, &reply.json["error"]), (409, &json!("refused")), "{}", reply.text);
    assert_eq!(proxy.admin.active("iris").await, "blue");
    let entry = &proxy.admin.history("iris").await[0];
    assert_eq!((&entry["outcome"], &entry["gate"]), (&json!("refused"), &reply.json["gate"]), "the journal has it");
    reply.json
}

/// P3. Fails when: in `checks::gate`, the golden step is not taken; in `checks::rehearsal`, `judge` says passed always.
#[tokio::test]
async fn a_green_that_is_ready_but_wrong_is_refused() {
    let (blue, wrong, right) = (Origin::start("blue").await, Origin::start("pink").await, Origin::start("green").await);
    let proxy = start(&blue, &[&wrong], WITH_GOLDEN, GOLDEN).await;
    let problem = refused(&proxy).await;
    assert_eq!(step(&problem["gate"], "readiness").0, "pass");
    let (result, said) = step(&problem["gate"], "golden");
    assert_eq!(result, "fail");
    assert!(said.contains("1 of 3 golden requests passed; 2 needed"), "{said}");
    assert!(said.contains("get (line 2)") && said.contains("pink"), "{said}");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("slot green of service iris does not answer its golden requests rightly"), "{message}");

    let body = json!({"endpoints": [right.url()], "version": "right"});
    assert_eq!(proxy.admin.put_slot("iris", "green", body).await.status, 200);
    let reply = proxy.switch("green").await;
    assert_eq!(step(&reply["gate"], "golden").0, "pass");
    assert!(step(&reply["gate"], "golden").1.contains("3 of 3"), "{reply}");
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
}

/// P3 for replicas. Fails when: in `checks::rehearsal`, one endpoint stands for all of a slot.
#[tokio::test]
async fn one_wrong_endpoint_of_three_is_enough_to_refuse() {
    let (blue, wrong) = (Origin::start("blue").await, Origin::start("pink").await);
    let right = [Origin::start("green").await, Origin::start("green").await];
    let proxy = start(&blue, &[&right[0], &wrong, &right[1]], WITH_GOLDEN, GOLDEN).await;
    let (_, said) = step(&refused(&proxy).await["gate"], "golden");
    assert!(said.contains(&format!("{}: 1 of 3", wrong.url())), "{said}");
    for one in &right {
        assert!(said.contains(&format!("{}: 3 of 3", one.url())), "{said}");
    }
}

/// Fails when: in `checks::rehearsal`, a request may go on when the gate's time is over; in `checks::ask`, nothing limits
/// the wait for an answer.
#[tokio::test]
async fn a_gate_ends_at_its_limit_when_the_server_hangs() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], "golden = \"golden.jsonl\"\ntimeout = \"700ms\"", GOLDEN).await;
    green.trouble(Some(Trouble::Hang));
    let asked = Instant::now();
    let problem = refused(&proxy).await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}, the file's own limit is 20 s", asked.elapsed());
    let (result, said) = step(&problem["gate"], "golden");
    assert_eq!(result, "fail");
    assert!(said.contains("0 of 3") && said.contains("nothing within"), "{said}");
}

/// One tells its length, the other has neither a length nor an end. Fails when: in `checks::ask`, `take` does not count what
/// has come, or neither that nor what was told.
#[tokio::test]
async fn answers_without_measure_are_given_up() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let big = r#"{"golden": 1, "answer_max": "1 MiB"}
{"name": "big", "request": {"path": "/x?do=big&bytes=1073741824"}, "expect": {}}
{"name": "endless", "request": {"path": "/x?do=sse&n=1000000000"}, "expect": {}}
"#;
    let proxy = start(&blue, &[&green], WITH_GOLDEN, big).await;
    let (_, said) = step(&refused(&proxy).await["gate"], "golden");
    assert_eq!(said.matches("an answer longer than 1048576 bytes").count(), 2, "{said}");
    assert!(green.shared.written.load(SeqCst) < 64 << 20, "what the sockets hold, and no more");
}

/// gRPC goes to the gRPC address. Fails when: in `checks::rehearsal`, `target` gives every request the HTTP address; in
/// `checks::ask`, trailers are lost.
#[tokio::test]
async fn golden_requests_speak_grpc_too() {
    let (blue, green) = pairs().await;
    let call = |name, method, message, expect| {
        format!(
            "{{\"name\": \"{name}\", \"request\": {{\"grpc\": {{\"method\": \"/test.Echo/{method}\", \"base64\": \"{message}\"}}}}, \"expect\": {expect}}}\n"
        )
    };
    // "hello", and "green:hello".
    let golden = call("unary", "Unary", "aGVsbG8=", "{\"message_base64\": \"Z3JlZW46aGVsbG8=\"}")
        + &call("fails", "Fail", "aGVsbG8=", "{\"grpc_status\": 5}");
    let proxy = start_pairs(&blue, &green, &golden).await;
    let (result, said) = step(&proxy.switch("green").await["gate"], "golden");
    assert_eq!((result.as_str(), said.contains("2 of 2")), ("pass", true), "{said}");
    let reply = proxy.admin.try_switch("iris", json!({"to": "blue"})).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(step(&reply.json["gate"], "golden").1.contains("1 of 2"), "{}", reply.text);
}

/// A model's metadata with one output.
fn metadata(output: &str, datatype: &str) -> Value {
    json!({
        "name": "iris", "platform": "x",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": output, "datatype": datatype, "shape": [-1, 1]}],
    })
}

/// P3. Fails when: in `checks::gate`, the contract step is not taken; in `checks::contract`, what the endpoint says is not
/// compared, or a server without metadata is refused.
#[tokio::test]
async fn a_green_that_changes_the_contract_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], WITH_GOLDEN, GOLDEN).await;
    let test = || async { proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await.json };
    let (result, said) = step(&test().await["gate"], "contract");
    assert_eq!((result.as_str(), said.contains("answered 404")), ("skipped", true), "{said}");

    blue.describe(Some(metadata("label", "INT64")));
    green.describe(Some(metadata("label", "FP32")));
    let problem = refused(&proxy).await;
    let (result, said) = step(&problem["gate"], "contract");
    assert_eq!(result, "fail");
    assert!(said.contains("/v2/models/iris: the output \"label\" was INT64, is FP32"), "{said}");
    let (result, said) = step(&problem["gate"], "golden");
    assert_eq!((result.as_str(), said.as_str()), ("skipped", "not asked for, since contract failed"));
    assert!(problem["message"].as_str().unwrap().contains("does not keep the contract"), "{problem}");

    green.describe(None);
    let (result, said) = step(&test().await["gate"], "contract");
    assert_eq!((result.as_str(), said.contains("answered 404, but the active slot says")), ("fail", true), "{said}");
    let mut more = metadata("label", "INT64");
    more["outputs"].as_array_mut().unwrap().push(json!({"name": "p", "datatype": "FP32", "shape": [-1, 3]}));
    green.describe(Some(more));
    assert_eq!(step(&proxy.switch("green").await["gate"], "contract").0, "pass");
}

/// `ModelMetadataResponse`: field 4 has the inputs, field 5 the outputs; of a tensor, fields 1 to 3 are name, datatype, shape.
fn grpc_metadata(output: &str, datatype: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let tensor = |name: &str, datatype: &str| {
        [field(1, name.as_bytes()), field(2, datatype.as_bytes()), field(3, &[1, 4])].concat()
    };
    [field(1, b"iris"), field(4, &tensor("features", "FP64")), field(5, &tensor(output, datatype))].concat()
}

/// P3, over gRPC. Fails when: in `checks::contract`, models that only gRPC requests name are not asked about, what a
/// server says of them is not compared, or a server without the method is refused.
#[tokio::test]
async fn a_green_that_changes_the_contract_over_grpc_is_refused() {
    let (blue, green) = pairs().await;
    let golden = r#"{"name": "infer", "request": {"grpc": {"method": "/inference.GRPCInferenceService/ModelInfer", "message": {"model_name": "iris", "inputs": []}}}, "expect": {}}"#;
    let proxy = start_pairs(&blue, &green, golden).await;
    let test = || async { proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await.json };
    let describe = |origin: &GrpcOrigin, said: Vec<u8>| *origin.shared.description.lock().unwrap() = Some(said);

    let (result, said) = step(&test().await["gate"], "contract");
    assert_eq!(result, "skipped", "{said}");
    assert!(said.contains("ModelMetadata of iris: answered UNIMPLEMENTED"), "{said}");
    describe(&blue.1, grpc_metadata("label", "INT64"));
    let (result, said) = step(&refused(&proxy).await["gate"], "contract");
    assert_eq!(
        (result.as_str(), said.contains("answered UNIMPLEMENTED, but the active slot says")),
        ("fail", true),
        "{said}"
    );
    describe(&green.1, grpc_metadata("label", "FP32"));
    let (_, said) = step(&refused(&proxy).await["gate"], "contract");
    assert!(said.contains("ModelMetadata of iris: the output \"label\" was INT64, is FP32"), "{said}");
    describe(&green.1, grpc_metadata("label", "INT64"));
    let reply = proxy.switch("green").await;
    let (result, said) = step(&reply["gate"], "contract");
    assert_eq!((result.as_str(), said.contains("1 input and 1 output, as before")), ("pass", true), "{said}");
    assert_eq!(step(&reply["gate"], "warm_up").0, "pass", "it is warmed over gRPC: {reply}");
}

/// A server that is gone cannot be compared with, and must not keep traffic from leaving it. Fails when: in
/// `checks::contract`, an active slot that does not answer fails the step.
#[tokio::test]
async fn traffic_can_leave_a_slot_that_is_dead() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], "", GOLDEN).await;
    green.describe(Some(json!({"data": [{"id": "m"}]})));
    blue.kill().await;
    let reply = proxy.switch("green").await;
    assert_eq!(step(&reply["gate"], "contract").0, "skipped", "{reply}");
}

/// Fails when: in `checks::readiness`, `service.gate.ready` is not looked at; in `control::effects`, a rollback is asked
/// for more than readiness.
#[tokio::test]
async fn readiness_is_asked_so_often_and_a_rollback_only_once() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], "golden = \"golden.jsonl\"\nready = 3", GOLDEN).await;
    let reply = proxy.switch("green").await;
    let (_, said) = step(&reply["gate"], "readiness");
    assert!(said.contains("that was the last of 3 answers in a row"), "{said}");
    blue.trouble(Some(Trouble::Status(500)));
    let reply = proxy.admin.rollback("iris").await;
    let steps: Vec<_> = reply["gate"]["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps, ["readiness", "connections"], "{reply}");
    green.readiness(Ready::Status(503));
    let (result, said) = step(&refused(&proxy_without_trouble(proxy, &blue)).await["gate"], "readiness");
    assert_eq!((result.as_str(), said.contains("that was answer 1 of 3")), ("fail", true), "{said}");
}

fn proxy_without_trouble(proxy: Proxy, blue: &Origin) -> Proxy {
    blue.trouble(None);
    proxy
}

/// Fails when: in `control::reload`, a reload leaves golden files out, or the gate of a file's switch does.
#[tokio::test]
async fn a_broken_golden_file_is_refused_and_a_file_passes_the_same_gate() {
    let (blue, wrong) = (Origin::start("blue").await, Origin::start("pink").await);
    let proxy = start(&blue, &[&wrong], WITH_GOLDEN, GOLDEN).await;
    let golden = proxy.dir.path().join("golden.jsonl");
    let reload = || async { proxy.admin.call("POST", "/v1/config/reload", None).await };
    let broken = GOLDEN.replace("\"expect\": {\"stream\"", "\"expect\": {\"straem\"");
    std::fs::write(&golden, broken).unwrap();
    let reply = reload().await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert!(reply.text.contains("golden.jsonl:4:") && reply.text.contains("straem"), "{}", reply.text);
    std::fs::remove_file(&golden).unwrap();
    let reply = reload().await;
    assert!(reply.status == 422 && reply.text.contains("service[0].gate.golden"), "{}", reply.text);

    std::fs::write(&golden, GOLDEN).unwrap();
    let mut moved = config(&blue, &[&wrong], WITH_GOLDEN);
    moved.services[0].active = "green".to_owned();
    std::fs::write(proxy.config_path(), moved.text()).unwrap();
    let reply = reload().await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert!(reply.text.contains("does not answer its golden requests rightly"), "{}", reply.text);
    assert_eq!(Conn::open(proxy.addr).await.call(&get("/")).await.colour(), "blue");
    // The reload is what brings another golden file into force.
    std::fs::write(&golden, GOLDEN.replace("\"green\"", "\"pink\"")).unwrap();
    assert_eq!(reload().await.status, 200);
    assert_eq!(proxy.admin.active("iris").await, "green");
}
