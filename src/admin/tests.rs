//! The admin API as a caller sees it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use super::testing::{Running, Start, iris, piece};
use crate::upstream::lease::{Lease, Ledger};

/// A request that runs on the active slot until it is dropped.
fn request_under_way(server: &mut Running) -> Lease {
    let service = server.reader.load().services[0].clone();
    let tenure = Rc::new(service.slots[service.active].tenure.clone());
    Ledger::new(0).acquire(&tenure, Instant::now()).unwrap()
}

/// What would otherwise hang a broken build.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), work).await.unwrap()
}

#[tokio::test]
async fn services_are_read() {
    let server = iris().await;
    let list = server.call("GET", "/v1/services", "").await.json();
    assert_eq!(list["proxy"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(list["services"][0]["name"], "iris");
    let one = server.call("GET", "/v1/services/iris", "").await;
    assert_eq!((one.field("etag"), one.field("content-type")), ("\"1\"", "application/json"));
    assert_eq!(one.json()["slots"]["green"]["version"], "v2");
    let history = server.call("GET", "/v1/services/iris/history?limit=1", "").await.json();
    assert_eq!(history["entries"][0]["action"], "added");
}

#[tokio::test]
async fn the_generation_is_the_entity_tag() {
    let server = iris().await;
    let known = server.call_with("GET", "/v1/services/iris", &[("if-none-match", "\"1\"")], "").await;
    assert_eq!((known.status, known.text.as_str(), known.field("etag")), (StatusCode::NOT_MODIFIED, "", "\"1\""));
    let switch = "/v1/services/iris/switch";
    let late = server.call_with("POST", switch, &[("if-match", "\"9\"")], "").await;
    assert_eq!((late.status.as_u16(), &late.json()["error"]), (412, &json!("generation_differs")));
    assert_eq!(late.json()["generation"], 1);
    let torn = server.call_with("POST", switch, &[("if-match", "\"1\"")], "{\"if_generation\":2}").await;
    assert_eq!((torn.status.as_u16(), &torn.json()["error"]), (422, &json!("invalid")));
    let good = server.call_with("POST", switch, &[("if-match", "\"1\"")], "").await;
    assert_eq!((good.status.as_u16(), &good.json()["generation"]), (200, &json!(2)));
    let back = server.call_with("POST", "/v1/services/iris/rollback", &[("if-match", "\"1\"")], "").await;
    assert_eq!(back.status.as_u16(), 412);
    let slot =
        server.call_with("PUT", "/v1/services/iris/slots/blue", &[("if-match", "1")], "{\"endpoints\":[]}").await;
    assert_eq!(slot.status.as_u16(), 412);
}

#[tokio::test]
async fn traffic_is_switched_and_rolled_back() {
    let server = iris().await;
    let fields = [("x-verdigris-actor", "cli alice"), ("content-type", "application/x-www-form-urlencoded")];
    let body = "{\"to\":\"green\",\"reason\":\"better\"}";
    let switched = server.call_with("POST", "/v1/services/iris/switch", &fields, body).await;
    assert_eq!(switched.status.as_u16(), 200, "{}", switched.text);
    assert_eq!((&switched.json()["outcome"], &switched.json()["active"]), (&json!("switched"), &json!("green")));
    let back = server.call("POST", "/v1/services/iris/rollback", "").await;
    assert_eq!((back.status.as_u16(), &back.json()["active"]), (200, &json!("blue")));
    let entries = server.call("GET", "/v1/services/iris/history", "").await.json()["entries"].clone();
    assert_eq!((&entries[0]["actor"], &entries[0]["action"]), (&json!("api 127.0.0.1"), &json!("rollback")));
    assert_eq!((&entries[1]["actor"], &entries[1]["reason"]), (&json!("cli alice (127.0.0.1)"), &json!("better")));
}

#[tokio::test]
async fn a_slot_that_is_not_ready_is_refused_with_the_report() {
    let server = iris().await;
    assert_eq!(server.put("green", server.down).await.json()["outcome"], "replaced");
    let tested = server.call("POST", "/v1/services/iris/slots/green/test", "").await;
    assert_eq!((tested.status.as_u16(), &tested.json()["gate"]["passed"]), (200, &json!(false)));
    let refused = server.call("POST", "/v1/services/iris/switch", "").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (409, &json!("refused")));
    assert_eq!(refused.json()["gate"]["steps"][0]["result"], "fail");
    let forced = server.call("POST", "/v1/services/iris/switch", "{\"force\":true,\"reason\":\"a test\"}").await;
    assert_eq!((forced.status.as_u16(), &forced.json()["forced"]), (200, &json!(true)));
}

#[tokio::test]
async fn a_wait_that_is_over_before_the_drain_answers_202() {
    let mut server = iris().await;
    let lease = request_under_way(&mut server);
    let wait = "{\"wait\":\"drained\",\"timeout\":\"10ms\"}";
    let late = server.call("POST", "/v1/services/iris/switch", wait).await;
    assert_eq!((late.status.as_u16(), &late.json()["outcome"]), (202, &json!("switched")), "{}", late.text);
    let order = server.call("POST", "/v1/services/iris/slots/blue/drain", "").await;
    assert_eq!((order.status.as_u16(), &order.json()["in_flight"]["total"]), (202, &json!(1)));
    let waiting = server.call("GET", "/v1/services/iris/slots/blue/drain?wait=10ms", "").await;
    assert_eq!((waiting.status.as_u16(), &waiting.json()["safe_to_delete"]), (200, &json!(false)));
    drop(lease);
    let done = server.call("GET", "/v1/services/iris/slots/blue/drain?wait=1m", "").await;
    assert_eq!(done.json()["safe_to_delete"], true, "{}", done.text);
    assert_eq!(server.call("POST", "/v1/services/iris/slots/blue/drain", "{}").await.status.as_u16(), 200);
    let back = server.call("POST", "/v1/services/iris/rollback", "{\"wait\":\"drained\",\"timeout\":\"1m\"}").await;
    assert_eq!(back.status.as_u16(), 200, "{}", back.text);
}

/// Fails when: a drain's order dies with its caller.
#[tokio::test]
async fn an_order_to_cut_outlives_its_caller() {
    let mut server = iris().await;
    let _lease = request_under_way(&mut server);
    server.call("POST", "/v1/services/iris/switch", "").await;
    {
        let path = "/v1/services/iris/slots/blue/drain";
        let order = server.send("POST", path, &[], "{\"cut_after\":\"100ms\"}");
        // Given up as soon as the request is on its way, long before the cut.
        timeout(Duration::from_millis(30), order).await.unwrap_err();
    }
    within(server.cuts.recv()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_said_in_one_shape() {
    let server = iris().await;
    for (method, path, body, status, error) in [
        ("GET", "/nowhere", "", 404, "not_found"),
        ("GET", "/v1/services/rose", "", 404, "not_found"),
        ("GET", "/v1/services/%ff", "", 404, "not_found"),
        ("POST", "/v1/services/iris/slots/purple/test", "", 404, "not_found"),
        ("DELETE", "/v1/services/iris", "", 405, "method_not_allowed"),
        ("GET", "/v1/services/iris/switch", "", 405, "method_not_allowed"),
        ("POST", "/", "", 405, "method_not_allowed"),
        ("POST", "/v1/services/iris/switch", "{", 422, "invalid"),
        ("POST", "/v1/services/iris/rollback", "{\"to\":\"blue\"}", 422, "invalid"),
        ("PUT", "/v1/services/iris/slots/green", "", 422, "invalid"),
        ("GET", "/v1/services/iris/history?limit=0", "", 422, "invalid"),
        ("GET", "/v1/services/iris/history?limit=x", "", 422, "invalid"),
        ("GET", "/v1/services/iris/history?last=5", "", 422, "invalid"),
        ("GET", "/v1/services/iris/slots/blue/drain?wait=soon", "", 422, "invalid"),
        ("POST", "/v1/services/iris/slots/blue/drain", "", 409, "refused"),
        ("DELETE", "/v1/services/rose/change", "", 404, "not_found"),
        ("DELETE", "/v1/services/iris/change", "", 409, "refused"),
        ("DELETE", "/v1/services/iris/slots/green/test", "", 409, "refused"),
        ("POST", "/v1/services/iris/slots/green/test", "{\"back\":true}", 422, "invalid"),
        ("POST", "/v1/services/iris/switch", "{\"force\":true}", 422, "invalid"),
        ("POST", "/v1/services/rose/switch", "{\"dry_run\":true}", 404, "not_found"),
    ] {
        let reply = server.call(method, path, body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (status, &json!(error)), "{method} {path}");
        assert!(!reply.json()["message"].as_str().unwrap().is_empty());
    }
    let wrong_method = server.call("DELETE", "/v1/services/iris", "").await;
    assert_eq!(wrong_method.field("allow"), "GET,HEAD");
    let large = server.call("POST", "/v1/services/iris/switch", vec![b' '; 300_000]).await;
    assert_eq!((large.status.as_u16(), &large.json()["error"]), (413, &json!("too_large")));
    let unknown = server.call("GET", "/v1/services/rose", "").await.json();
    assert_eq!(unknown["hint"], "services are: iris");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = iris().await;
    for path in ["/v1/services", "/v1/services/iris", "/live", "/ready", "/metrics", "/openapi.json", "/"] {
        let (get, head) = (server.call("GET", path, "").await, server.call("HEAD", path, "").await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.field("content-type"), get.field("content-type"), "{path}");
    }
}

#[tokio::test]
async fn the_file_is_read_again() {
    let server = iris().await;
    let same = server.call("POST", "/v1/config/reload", "").await;
    assert_eq!((same.status.as_u16(), &same.json()["changes"]), (200, &json!([])), "{}", same.text);
    std::fs::write(&server.config, "version = 1\nlisten = 3\n").unwrap();
    let refused = server.call("POST", "/v1/config/reload", "").await;
    assert_eq!(refused.status.as_u16(), 422);
    assert!(refused.json()["problems"][0].as_str().unwrap().contains("verdigris.toml"), "{}", refused.text);
}

#[tokio::test]
async fn events_follow_and_end_with_the_server() {
    let server = iris().await;
    for path in ["/v1/events", "/events"] {
        let response = server.send("GET", path, &[], "").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
    }
    let mut stream = server.send("GET", "/v1/events", &[], "").await.into_body();
    assert!(piece(&mut stream).await.unwrap().starts_with(b"retry: 2000\n"));
    server.call("POST", "/v1/services/iris/switch", "").await;
    let seen = async {
        loop {
            let event = piece(&mut stream).await.unwrap();
            if event.starts_with(b"event: change\ndata: {\"kind\":\"change\",") {
                return;
            }
        }
    };
    within(seen).await;
    server.stop().await;
    while piece(&mut stream).await.is_some() {}
}

/// Fails when: a caller that waits for a drain keeps the process from ending, or gets no answer.
#[tokio::test]
async fn a_wait_ends_with_the_server() {
    let mut server = iris().await;
    let _lease = request_under_way(&mut server);
    server.call("POST", "/v1/services/iris/switch", "").await;
    let wait = "/v1/services/iris/slots/blue/drain?wait=1h";
    let stop = server.stop.take();
    let later = async {
        // Accepted after the one that waits, so that the other is with its handler when this is answered.
        server.call("GET", "/live", "").await;
        drop(stop);
    };
    let (reply, ()) = tokio::join!(server.call("GET", wait, ""), later);
    assert_eq!((reply.status.as_u16(), &reply.json()["safe_to_delete"]), (200, &json!(false)));
    server.stop().await;
}

#[tokio::test]
async fn probes_are_plain_text() {
    let server = iris().await;
    assert_eq!(server.call("GET", "/live", "").await.text, "live\n");
    assert_eq!(server.call("GET", "/ready", "").await.text, "ready\n");
    server.handle.announce_shutdown();
    let ready = server.call("GET", "/ready", "").await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (503, "not ready: shutting down\n"));
    assert_eq!(server.call("GET", "/live", "").await.status.as_u16(), 200);
    let metrics = server.call("GET", "/metrics", "").await;
    assert_eq!(metrics.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text.contains("# TYPE verdigris_"), "{}", metrics.text);
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let server = Start { token: Some("s3cret"), ..Start::default() }.run().await;
    let locked = server.call("GET", "/v1/services", "").await;
    assert_eq!((locked.status.as_u16(), locked.field("www-authenticate")), (401, "Bearer"));
    assert_eq!(locked.json()["error"], "unauthorized");
    let fields = [("authorization", "Bearer s3cret"), ("host", "verdigris.corp")];
    assert_eq!(server.call_with("GET", "/v1/services", &fields, "").await.status.as_u16(), 200);
    assert_eq!(server.call_with("GET", "/ready", &[("host", "x")], "").await.status.as_u16(), 200);
}

#[tokio::test]
async fn foreign_pages_are_kept_out() {
    let server = iris().await;
    let rebound = server.call_with("GET", "/v1/services", &[("host", "evil.test")], "").await;
    assert_eq!((rebound.status.as_u16(), &rebound.json()["error"]), (403, &json!("forbidden")));
    let foreign = [("origin", "http://evil.test")];
    let foreign = server.call_with("POST", "/v1/services/iris/switch", &foreign, "").await;
    assert_eq!((foreign.status.as_u16(), &foreign.json()["error"]), (403, &json!("forbidden")));
    assert_eq!(server.call("GET", "/v1/services/iris", "").await.json()["generation"], 1);
}

#[tokio::test]
async fn a_unix_socket_serves_the_same() {
    let server = Start { unix: true, ..Start::default() }.run().await;
    assert_eq!(server.call("POST", "/v1/services/iris/switch", "").await.status.as_u16(), 200);
    let entries = server.call("GET", "/v1/services/iris/history", "").await.json()["entries"].clone();
    assert!(entries[0]["actor"].as_str().unwrap().starts_with("api uid "), "{entries}");
}

#[tokio::test]
async fn the_page_is_protected() {
    let server = iris().await;
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
        let part = server.call("GET", path, "").await;
        assert!(part.field("content-type").starts_with(kind), "{path}");
        assert!(part.field("content-security-policy").starts_with("default-src 'none'; script-src 'self'"), "{path}");
        assert_eq!(part.field("x-content-type-options"), "nosniff");
    }
}

/// Fails when: a dry run is answered as if something had happened, or a test or a switch that runs is not 202.
#[tokio::test]
async fn what_is_planned_is_200_and_what_runs_is_202() {
    let server = iris().await;
    let plan = server.call("POST", "/v1/services/iris/switch", "{\"dry_run\":true}").await;
    assert_eq!((plan.status.as_u16(), &plan.json()["to"]), (200, &json!("green")), "{}", plan.text);
    assert_eq!((&plan.json()["outcome"], &plan.json()["generation"]), (&json!(null), &json!(1)));
    let test = server.call("POST", "/v1/services/iris/slots/green/test", "{\"background\":true}").await;
    assert_eq!((test.status.as_u16(), &test.json()["under_way"]), (202, &json!(true)), "{}", test.text);
    let switch = server.call("POST", "/v1/services/iris/switch", "{\"wait\":\"none\"}").await;
    assert_eq!((switch.status.as_u16(), &switch.json()["outcome"]), (202, &json!("under_way")), "{}", switch.text);
}
