//! The admin API: what each call answers, and that a refused one changes nothing.

use serde_json::{Value, json};

use crate::support::{
    client::{Conn, get, request},
    config::Config,
    origin::{Origin, Ready},
    proxy::Proxy,
    wait::{until, within},
};

async fn pair() -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    (blue, green, proxy)
}

/// Fails when: a wrong call has another status, or moves traffic all the same.
#[tokio::test]
async fn wrong_calls_are_refused_and_change_nothing() {
    let (_blue, _green, proxy) = pair().await;
    let before = proxy.admin.status("iris").await;
    let generation = before["generation"].as_u64().unwrap();
    let switch = "/v1/services/iris/switch";
    for (method, path, body, status, error) in [
        ("POST", "/v1/services/rose/switch", json!({"to": "green"}), 404, "not_found"),
        ("GET", "/v1/services/rose", Value::Null, 404, "not_found"),
        ("GET", "/v1/nothing/here", Value::Null, 404, "not_found"),
        ("PUT", "/v1/services/iris/slots/purple", json!({"endpoints": []}), 404, "not_found"),
        ("GET", "/v1/services/iris/slots/purple/drain", Value::Null, 404, "not_found"),
        ("DELETE", "/v1/services/iris", Value::Null, 405, "method_not_allowed"),
        ("POST", switch, json!({"to": "purple"}), 422, "invalid"),
        ("POST", switch, json!({"too": "green"}), 422, "invalid"),
        ("POST", switch, json!({"to": "green", "force": "yes"}), 422, "invalid"),
        ("POST", switch, json!({"to": "green", "wait": "drained", "timeout": "soon"}), 422, "invalid"),
        ("POST", switch, json!({"to": "green", "if_generation": generation + 1}), 412, "generation_differs"),
        ("POST", "/v1/services/iris/rollback", json!({}), 409, "refused"),
        ("PUT", "/v1/services/iris/slots/green", json!({"endpoints": ["ftp://127.0.0.1:1"]}), 422, "invalid"),
        ("PUT", "/v1/services/iris/slots/green", json!({"endpoints": ["http://"]}), 422, "invalid"),
        ("PUT", "/v1/services/iris/slots/blue", json!({"endpoints": []}), 409, "refused"),
        ("POST", "/v1/services/iris/slots/green/drain", json!({"cut_after": "never ever"}), 422, "invalid"),
    ] {
        let body = (!body.is_null()).then_some(body);
        let reply = proxy.admin.call(method, path, body.clone()).await;
        let seen = (reply.status, reply.json["error"].as_str());
        assert_eq!(seen, (status, Some(error)), "{method} {path} {body:?}: {}", reply.text);
        assert!(reply.json["message"].as_str().is_some_and(|text| text.len() > 8), "{method} {path}: {}", reply.text);
    }
    let after = proxy.admin.status("iris").await;
    assert_eq!((&after["generation"], &after["active"]), (&before["generation"], &before["active"]));
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// Fails when: the body is not read as JSON strictly, or its problem has no place.
#[tokio::test]
async fn broken_json_is_told_with_its_place() {
    let (_blue, _green, proxy) = pair().await;
    for broken in ["{\"to\": green}", "{\"to\":", "[]"] {
        let host = proxy.admin.addr.to_string();
        let bytes =
            request("POST", "/v1/services/iris/switch", "content-type: application/json\r\n", broken.as_bytes());
        let bytes = String::from_utf8(bytes).unwrap().replacen("iris.test", &host, 1);
        let answer = Conn::open(proxy.admin.addr).await.call(bytes.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (422, Some("invalid")),
            "{broken}: {}",
            answer.text()
        );
        assert!(
            ["column", "expected", "object"].iter().any(|word| answer.text().contains(word)),
            "{broken}: {}",
            answer.text()
        );
    }
}

/// Fails when: a switch to the active slot raises the generation, is journaled, or is an error.
#[tokio::test]
async fn a_switch_to_the_active_slot_is_unchanged() {
    let (_blue, green, proxy) = pair().await;
    let before = proxy.admin.status("iris").await["generation"].clone();
    let entries = proxy.admin.history("iris").await.len();
    green.readiness(Ready::Status(503));
    let reply = proxy.switch("blue").await;
    assert_eq!((&reply["outcome"], &reply["generation"]), (&json!("unchanged"), &before));
    assert_eq!(proxy.admin.history("iris").await.len(), entries);
}

/// Fails when: the ETag is not the generation, or If-Match is not looked at.
#[tokio::test]
async fn a_generation_guards_against_the_other_operator() {
    let (_blue, _green, proxy) = pair().await;
    let got = proxy.admin.call("GET", "/v1/services/iris", None).await;
    let tag = got.answer.field("etag").unwrap();
    assert_eq!(tag.trim_matches('"'), got.json["generation"].to_string());
    let switch = "/v1/services/iris/switch";
    let matching = format!("if-match: {tag}\r\n");
    let first = proxy.admin.call_with("POST", switch, Some(json!({"to": "green"})), &matching).await;
    assert_eq!(
        (first.status, first.json["generation"].as_u64()),
        (200, Some(got.json["generation"].as_u64().unwrap() + 1))
    );
    let second = proxy.admin.call_with("POST", switch, Some(json!({"to": "blue"})), &matching).await;
    assert_eq!((second.status, &second.json["error"]), (412, &json!("generation_differs")), "{}", second.text);
    assert_eq!(second.json["generation"], first.json["generation"], "it says the generation that holds");
    let third = proxy.admin.try_rollback("iris", json!({"if_generation": first.json["generation"]})).await;
    assert_eq!(third.status, 200, "{}", third.text);
    assert_eq!(proxy.admin.active("iris").await, "blue");
}

/// Fails when: a rollback goes anywhere but to the slot that served before, or is not told apart in the history.
#[tokio::test]
async fn a_rollback_returns_to_the_slot_that_served_before() {
    let (_blue, _green, proxy) = pair().await;
    assert_eq!(proxy.admin.status("iris").await["rollback"]["instant"], false);
    proxy.admin.switch("iris", json!({"to": "green", "reason": "new version"})).await;
    let rollback = proxy.admin.status("iris").await["rollback"].clone();
    assert_eq!((&rollback["to"], &rollback["instant"]), (&json!("blue"), &json!(true)), "{rollback}");
    let reply = proxy.admin.rollback("iris").await;
    assert_eq!(
        (&reply["active"], &reply["previous"], &reply["outcome"]),
        (&json!("blue"), &json!("green"), &json!("switched"))
    );
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");

    let history = proxy.admin.history("iris").await;
    let line = |index: usize| {
        [&history[index]["action"], &history[index]["from"], &history[index]["to"]].map(|v| v.as_str().unwrap())
    };
    assert_eq!(line(0), ["rollback", "green", "blue"]);
    assert_eq!(line(1), ["switch", "blue", "green"]);
    assert_eq!((&history[1]["reason"], &history[1]["version"]), (&json!("new version"), &json!("v-green")));
    assert!(history[0]["actor"].as_str().is_some_and(|actor| actor.contains("127.0.0.1")), "{}", history[0]);
    assert_eq!(history.last().unwrap()["action"], "added");
}

/// Fails when: an empty slot can be switched to, even by force.
#[tokio::test]
async fn an_empty_slot_is_refused_even_with_force() {
    let blue = Origin::start("blue").await;
    let service = crate::support::config::Service::new("iris", &blue.url(), "");
    let proxy = Proxy::ready(&Config::new(vec![service])).await;
    let reply = proxy.admin.try_switch("iris", json!({"to": "green", "force": true, "reason": "a test"})).await;
    assert_eq!((reply.status, &reply.json["error"]), (409, &json!("refused")), "{}", reply.text);
    assert_eq!(proxy.admin.status("iris").await["slots"]["green"]["phase"], "empty");
}

/// Fails when: in `control::effects`, `publish_change` does not take over the new contents, as it happens when the
/// answer goes out before it, or `write_journal` notes the version that serves instead of the one put in.
#[tokio::test]
async fn new_endpoints_in_standby_serve_after_the_next_switch() {
    let (_blue, _green, proxy) = pair().await;
    let teal = Origin::start("teal").await;
    let reply = proxy.admin.put_slot("iris", "green", json!({"endpoints": [teal.url()], "version": "v3"})).await;
    assert_eq!((reply.status, &reply.json["outcome"]), (200, &json!("replaced")), "{}", reply.text);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue", "standby has no traffic");
    let entry = &proxy.admin.history("iris").await[0];
    let put_in = json!([{"slot": "green", "version": "v3", "endpoints": [{"http": teal.url()}]}]);
    assert_eq!((&entry["version"], &entry["contents"]), (&json!("v3"), &put_in), "{entry}");
    proxy.switch("green").await;
    let answer = proxy.once(&get("/")).await;
    assert_eq!((answer.colour().as_str(), answer.field("x-verdigris-version").as_deref()), ("teal", Some("v3")));
    let slot = &proxy.admin.status("iris").await["slots"]["green"];
    assert_eq!((&slot["version"], &slot["endpoints"][0]["http"]), (&json!("v3"), &json!(teal.url())), "{slot}");
}

/// P3 for a slot that serves. Fails when: in `switch::machine`, `needs_gate` says no to a replacement of the active
/// slot's endpoints.
#[tokio::test]
async fn new_endpoints_of_the_active_slot_pass_the_gate() {
    let (_blue, _green, proxy) = pair().await;
    let teal = Origin::start("teal").await;
    teal.readiness(Ready::Status(503));
    let body = json!({"endpoints": [teal.url()], "version": "v3"});
    assert_eq!(proxy.admin.put_slot("iris", "blue", body.clone()).await.status, 409);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    teal.readiness(Ready::Status(200));
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    assert_eq!(proxy.admin.put_slot("iris", "blue", body).await.status, 200);
    assert_eq!(conn.call(&get("/")).await.colour(), "teal");
}

/// Fails when: in `checks::readiness`, `readiness` says passed always.
#[tokio::test]
async fn a_slot_can_be_tested_without_a_switch() {
    let (_blue, green, proxy) = pair().await;
    let path = "/v1/services/iris/slots/green/test";
    let reply = proxy.admin.call("POST", path, None).await;
    assert_eq!((reply.status, &reply.json["gate"]["passed"]), (200, &json!(true)), "{}", reply.text);
    green.readiness(Ready::Status(503));
    let reply = proxy.admin.call("POST", path, None).await;
    assert_eq!(reply.json["gate"]["passed"], false, "{}", reply.text);
    assert!(reply.text.contains("503"), "{}", reply.text);
    assert_eq!(proxy.admin.active("iris").await, "blue");
}

/// Two changes of one service never interleave. Fails when: in `switch::machine`, `asked` does not look at what is
/// pending.
#[tokio::test]
async fn a_second_change_meanwhile_is_busy() {
    let (_blue, green, proxy) = pair().await;
    green.readiness(Ready::Hang);
    let admin = proxy.admin;
    let first = tokio::spawn(async move { admin.try_switch("iris", json!({"to": "green"})).await });
    until("the first switch to be pending", || async {
        let status = proxy.admin.status("iris").await;
        if status["pending"].is_string() { Ok(()) } else { Err(status) }
    })
    .await;
    let second = proxy.admin.try_switch("iris", json!({"to": "green", "force": true, "reason": "a test"})).await;
    assert_eq!((second.status, &second.json["error"]), (409, &json!("busy")), "{}", second.text);
    assert_eq!(within("the gate to give up", first).await.unwrap().status, 409);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// Fails when: events are late, lost, or named otherwise.
#[tokio::test]
async fn events_tell_what_happens_as_it_happens() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = Conn::open(proxy.admin.addr).await;
    let host = proxy.admin.addr;
    conn.send(format!("GET /v1/events HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await;
    let head = conn.head().await;
    assert_eq!((head.status, head.field("content-type").as_deref()), (200, Some("text/event-stream")));
    proxy.switch("green").await;
    let seen = within("both events", async {
        let mut text = String::new();
        while !(text.contains("event: change") && text.contains("event: drained")) {
            text.push_str(&String::from_utf8_lossy(&conn.wire.chunk().await.unwrap()));
        }
        text
    })
    .await;
    let (_, change) = seen.split_once("event: change").unwrap();
    let data = change.lines().find_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("data:"))).unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&event["kind"], &event["action"], &event["to"]), (&json!("change"), &json!("switch"), &json!("green")));
}

/// Fails when: a page of the browser's owner could be made to call the API by a foreign site.
#[tokio::test]
async fn foreign_pages_and_names_are_refused() {
    let (_blue, _green, proxy) = pair().await;
    let switch = request("POST", "/v1/services/iris/switch", "content-type: application/json\r\n", b"{}");
    let answer = Conn::open(proxy.admin.addr).await.call(&switch).await;
    assert_eq!(answer.status, 403, "a foreign Host: {}", answer.text());
    let reply = proxy
        .admin
        .call_with("POST", "/v1/services/iris/switch", Some(json!({})), "origin: http://evil.example\r\n")
        .await;
    assert_eq!(reply.status, 403, "a foreign Origin: {}", reply.text);
    assert_eq!(proxy.admin.active("iris").await, "blue");
}

/// Fails when: a page outside `/v1` is missing, or an important series is.
#[tokio::test]
async fn the_other_pages_are_there() {
    let (_blue, _green, proxy) = pair().await;
    proxy.once(&get("/")).await;
    proxy.switch("green").await;
    for (path, holds) in [("/live", ""), ("/ready", ""), ("/openapi.json", "\"openapi\""), ("/", "<html")] {
        let reply = proxy.admin.call("GET", path, None).await;
        assert!(reply.status == 200 && reply.text.contains(holds), "{path}: {} {}", reply.status, reply.text);
    }
    assert_eq!(proxy.metric("verdigris_active{", &["service=\"iris\"", "slot=\"green\""]).await, 1.0);
    assert_eq!(proxy.metric("verdigris_active{", &["service=\"iris\"", "slot=\"blue\""]).await, 0.0);
    assert_eq!(proxy.metric("verdigris_requests_total", &["slot=\"blue\"", "version=\"v-blue\""]).await, 1.0);
    assert_eq!(proxy.metric("verdigris_switches_total", &["action=\"switch\"", "outcome=\"done\""]).await, 1.0);
}
