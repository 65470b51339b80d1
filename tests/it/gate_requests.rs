//! How a gate's requests come to a server: as live traffic does, by the service's rules, and within bounds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gate::in_dir;
use crate::support::{
    client::request,
    config::Config,
    grpc_origin::GrpcOrigin,
    origin::{Origin, Trouble},
    proxy::Proxy,
    wire::{Fields, value},
};

/// What `verdigris test iris green` is told.
async fn tested(proxy: &Proxy) -> Value {
    proxy.admin.call("POST", "/v1/services/iris/slots/green/test", None).await.json["gate"].clone()
}

fn step<'g>(gate: &'g Value, name: &str) -> &'g Value {
    gate["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{gate}"))
}

const RULES: &str = "[service.request]\nstrip_prefix = \"/v2\"\nset = { x-set = \"1\" }\nadd = { x-added = \"1\" }\n\
                     remove = [\"x-gone\"]\n[service.gate]\ngolden = \"golden.jsonl\"\nwarm_up = \"0s\"\n";

/// A live request and a golden one reach a server in the same form. Fails when: in `checks::ask`, `build` leaves a rule of
/// `[service.request]` out, names the endpoint where clients name the service, or says nothing of a body that is missing;
/// in `checks::contract`, the prefix is not a part of the question.
#[tokio::test]
async fn gate_requests_come_to_the_server_as_live_ones_do() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| {
        service.rule = "host = \"iris.test\", path_prefix = \"/v2\"".to_owned();
        service.tables = RULES.to_owned();
    });
    let golden = r#"{"name": "a", "request": {"method": "POST", "path": "/v2/v2/models/m/unload?x=%7e", "headers": {"x-gone": "1", "x-set": "0", "user-agent": "u"}}, "expect": {}}"#;
    let proxy = in_dir(&config, golden).await;
    blue.describe(Some(json!({"inputs": [], "outputs": []})));
    green.describe(Some(json!({"inputs": [], "outputs": []})));
    let gate = tested(&proxy).await;
    assert_eq!(gate["passed"], true, "{gate}");
    let said = step(&gate, "contract")["evidence"][0].as_str().unwrap();
    assert!(said.contains("GET /v2/models/m: 0 inputs and 0 outputs, as before"), "{said}");

    let fields = "x-gone: 1\r\nx-set: 0\r\nuser-agent: u\r\n";
    let live = String::from_utf8(request("POST", "/v2/v2/models/m/unload?x=%7e", fields, b"")).unwrap();
    // A client that tells no length either.
    let live = live.lines().filter(|line| !line.starts_with("content-length")).collect::<Vec<_>>().join("\r\n");
    proxy.once(format!("{live}\r\n\r\n").as_bytes()).await;
    let (live, gate) = (blue.only_request(), green.only_request());
    assert_eq!((&live.method, &live.target), (&gate.method, &gate.target));
    assert_eq!(gate.target, "/v2/models/m/unload?x=%7e");
    let own = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded", "via"];
    let seen = |fields: &Fields| {
        let names = fields.iter().map(|(name, _)| name.to_ascii_lowercase());
        let mut kept: Vec<_> = names
            .filter(|name| !own.contains(&name.as_str()) && name != "x-request-id")
            .map(|name| (value(fields, &name), name))
            .collect();
        kept.sort();
        kept
    };
    assert_eq!(seen(&live.fields), seen(&gate.fields));
    assert_eq!(value(&gate.fields, "host").as_deref(), Some("iris.test"));
    assert_eq!(value(&gate.fields, "content-length").as_deref(), Some("0"));
    assert_eq!(value(&gate.fields, "x-forwarded-prefix").as_deref(), Some("/v2"));
}

/// Four models, so that four questions are asked.
const FOUR: &str = r#"{"name": "a", "request": {"path": "/v2/models/a/infer"}, "expect": {}}
{"name": "b", "request": {"path": "/v2/models/b/infer"}, "expect": {}}
{"name": "c", "request": {"path": "/v2/models/c/infer"}, "expect": {}}
{"name": "d", "request": {"path": "/v2/models/d/infer"}, "expect": {}}
"#;

/// Fails when: in `checks::contract`, an endpoint that has not answered is asked the next question, or a question may take
/// longer than the gate has time.
#[tokio::test]
async fn a_green_that_hangs_when_it_is_asked_for_its_contract_costs_one_answer() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    for (limit, patience) in [("60s", "300ms"), ("3s", "20s")] {
        let config = Config::pair(&blue, &green).service(|service| {
            service.health = format!("path = \"/v2/health/ready\"\ninterval = \"50ms\"\ntimeout = \"{patience}\"");
            service.tables = format!("[service.gate]\ngolden = \"golden.jsonl\"\ntimeout = \"{limit}\"\n");
        });
        let proxy = in_dir(&config, FOUR).await;
        blue.describe(Some(json!({"inputs": [], "outputs": []})));
        green.trouble(Some(Trouble::Hang));
        let (asked, before) = (Instant::now(), green.hits());
        let gate = tested(&proxy).await;
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        assert_eq!((green.hits() - before, &gate["passed"]), (1, &json!(false)), "{gate}");
        let contract = step(&gate, "contract");
        assert_eq!(
            (&contract["result"], contract["evidence"].as_array().unwrap().len()),
            (&json!("fail"), 1),
            "{gate}"
        );
        let said = contract["evidence"][0].as_str().unwrap();
        assert!(
            said.contains("GET /v2/models/a: nothing within") && said.contains("but the active slot says"),
            "{said}"
        );
        green.trouble(None);
    }
}

/// One message, the end of the request, and then all answers. Fails when: in `checks::ask`, the request is not ended, or
/// only a part of what is answered is read; in `checks::golden`, `ModelStreamInfer` is a call like any other.
#[tokio::test]
async fn a_stream_of_answers_is_read_to_its_end() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc));
    let config = config.service(|service| service.tables = "[service.gate]\ngolden = \"golden.jsonl\"\n".to_owned());
    let golden = r#"{"name": "tokens", "request": {"grpc": {"method": "/inference.GRPCInferenceService/ModelStreamInfer", "message": {"model_name": "m", "inputs": []}}}, "expect": {"tensors": {"text": {"datatype": "BYTES", "data": ["green:2"]}}, "json": {"$.answers": {"length": 3}, "$.answers[0].outputs[0].data[0]": "green:0"}}}"#;
    let proxy = in_dir(&config, golden).await;
    let gate = proxy.switch("green").await["gate"].clone();
    assert_eq!((&step(&gate, "golden")["result"], &step(&gate, "warm_up")["result"]), (&json!("pass"), &json!("pass")));
    let refused = proxy.admin.try_switch("iris", json!({"to": "blue"})).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("expected \\\"green:2\\\", found \\\"blue:2\\\""), "{}", refused.text);
}
