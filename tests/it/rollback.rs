//! What a gate asks of a slot with several endpoints, and of one that served before (P3).

use serde_json::{Value, json};

use crate::support::{
    client::get,
    config::Config,
    origin::{Origin, Ready},
    proxy::Proxy,
};

/// Probes that have seen everything healthy once, and do not look again during a test.
const STALE: &str = "path = \"/v2/health/ready\"\ninterval = \"1h\"\nrise = 1\ntimeout = \"1s\"";

/// Blue, two servers in green, and a proxy whose running probes hold all of them healthy from now on.
async fn trio() -> (Origin, [Origin; 2], Proxy) {
    let (blue, green) = (Origin::start("blue").await, [Origin::start("green").await, Origin::start("green").await]);
    let config = Config::pair(&blue, &green[0]).service(|service| {
        service.green = format!("\"{}\", \"{}\"", green[0].url(), green[1].url());
        service.health = STALE.to_owned();
    });
    let proxy = Proxy::ready(&config).await;
    (blue, green, proxy)
}

fn evidence(reply: &Value) -> Vec<String> {
    let lines = reply["gate"]["steps"][0]["evidence"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// P3. Fails when: in `checks::readiness`, `readiness` takes the running probes' word without asking the endpoint, or
/// trusts it after a connection was refused or an answer was not 200.
#[tokio::test]
async fn a_rollback_to_a_server_that_has_just_died_is_refused_unless_forced() {
    let (blue, _green, proxy) = trio().await;
    proxy.switch("green").await;
    blue.readiness(Ready::Status(503));
    assert_eq!(proxy.admin.try_rollback("iris", json!({})).await.status, 409);
    blue.kill().await;
    let before = proxy.admin.status("iris").await["generation"].clone();
    let reply = proxy.admin.try_rollback("iris", json!({})).await;
    assert_eq!((reply.status, &reply.json["error"]), (409, &json!("refused")), "{}", reply.text);
    assert_eq!(reply.json["gate"]["passed"], false);
    assert_eq!(proxy.admin.status("iris").await["generation"], before);
    assert_eq!(proxy.once(&get("/")).await.colour(), "green", "nothing moved");
    let entry = &proxy.admin.history("iris").await[0];
    assert_eq!((&entry["action"], &entry["outcome"]), (&json!("rollback"), &json!("refused")));
    let forced = proxy.admin.try_rollback("iris", json!({"force": true, "reason": "a test"})).await;
    assert_eq!((forced.status, &forced.json["forced"]), (200, &json!(true)), "{}", forced.text);
}

/// A rollback is wanted when things are bad: a server that is only slow to say that it is ready does not prevent it.
/// Fails when: in `checks::readiness`, a probe that was not answered in time fails a rollback, or the report does not
/// say whose word was taken.
#[tokio::test]
async fn a_rollback_to_a_slow_server_takes_the_running_probes_word() {
    let (blue, _green, proxy) = trio().await;
    proxy.switch("green").await;
    blue.readiness(Ready::Hang);
    let reply = proxy.admin.rollback("iris").await;
    let said = evidence(&reply).join("\n");
    assert!(said.contains("no answer within") && said.contains("healthy by its running probes"), "{said}");
    assert_eq!(proxy.admin.active("iris").await, "blue");
}

/// P3 for replicas. Fails when: in `checks::readiness`, `readiness` lets one ready endpoint stand for all of a slot that
/// is switched to, leaves an endpoint out of the report, or asks more than one of a slot that is rolled back to.
#[tokio::test]
async fn a_switch_asks_every_endpoint_and_a_rollback_one() {
    let (_blue, green, proxy) = trio().await;
    green[1].readiness(Ready::Status(503));
    let reply = proxy.admin.try_switch("iris", json!({"to": "green"})).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    let lines = evidence(&reply.json);
    assert!(lines[0].contains(&green[0].url()) && lines[0].contains("answered 200"), "{lines:?}");
    assert!(lines[1].contains(&green[1].url()) && lines[1].contains("answered 503"), "{lines:?}");
    assert_eq!(proxy.admin.active("iris").await, "blue");
    assert_eq!(proxy.admin.drain("iris", "blue").await["serves_on"], true);
    let forced = proxy.admin.switch("iris", json!({"to": "green", "force": true, "reason": "a test"})).await;
    assert_eq!(proxy.admin.drain("iris", "blue").await["serves_on"], Value::Null);
    assert_eq!(forced["forced"], true);
    proxy.switch("blue").await;
    let back = proxy.admin.rollback("iris").await;
    assert_eq!((&back["active"], &back["forced"]), (&json!("green"), &json!(false)), "{back}");
    assert!(evidence(&back).iter().any(|line| line.contains("one ready endpoint is enough")), "{back}");
}
