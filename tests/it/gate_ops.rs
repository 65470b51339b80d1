//! Gates while they run: in view, in the background, called off, overtaken, only planned.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    admin::{Admin, Reply},
    client::{Conn, get, request},
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true, within},
};

/// A golden request whose answer waits for `Origin::step`.
const HELD: &str = r#"{"golden": 1, "timeout": "60s"}
{"name": "held", "request": {"path": "/predict?do=held"}, "expect": {"status": 200}}
"#;

const SWITCH: &str = "/v1/services/iris/switch";
const CHANGE: &str = "/v1/services/iris/change";
const GREEN: &str = "/v1/services/iris/slots/green";
const TEST: &str = "/v1/services/iris/slots/green/test";

struct Set {
    blue: Origin,
    green: Origin,
    proxy: Proxy,
}

/// Both slots answer golden requests only when they are let.
async fn set() -> Set {
    set_with("path = \"/v2/health/ready\"\ninterval = \"50ms\"\ntimeout = \"1s\"").await
}

async fn set_with(health: &str) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("verdigris.toml"), config(&blue, &green, health).text()).unwrap();
    std::fs::write(dir.path().join("golden.jsonl"), HELD).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    Set { blue, green, proxy }
}

fn config(blue: &Origin, green: &Origin, health: &str) -> Config {
    Config::pair(blue, green).service(|service| {
        service.health = health.to_owned();
        // Each of its golden requests waits for the test; a warm-up would wait, too.
        service.tables = "[service.gate]\ngolden = \"golden.jsonl\"\nwarm_up = \"0s\"\n".to_owned();
    })
}

impl Set {
    /// A call that waits, from another task.
    fn calls(&self, method: &'static str, path: &'static str, body: Value) -> JoinHandle<Reply> {
        let admin = self.proxy.admin;
        tokio::spawn(async move { admin.call(method, path, Some(body)).await })
    }

    /// What is under way, once its golden requests wait for their answers.
    async fn until_held(&self) -> Value {
        until("the golden requests to be sent", || async {
            let under_way = self.proxy.admin.status("iris").await["under_way"].clone();
            let golden = under_way["gate"]["running"]["name"] == "golden";
            if golden && self.held() > 0 { Ok(under_way) } else { Err(under_way) }
        })
        .await
    }

    /// Golden requests at green whose connection is open.
    fn held(&self) -> usize {
        let open = |request: &&crate::support::origin::Recorded| !self.green.has_ended(request.connection);
        self.green.requests().iter().filter(|request| request.target.contains("held")).filter(open).count()
    }

    async fn until_let_go(&self) {
        until_true("the gate's connections to be closed", || self.held() == 0).await;
    }

    /// Nothing moved, and nothing is in the way of the next change.
    async fn assert_as_before(&self, generation: &Value) {
        let status = self.proxy.admin.status("iris").await;
        assert_eq!((&status["active"], &status["generation"]), (&json!("blue"), generation), "{status}");
        assert_eq!((&status["under_way"], &status["pending"]), (&Value::Null, &Value::Null), "{status}");
        assert_eq!(self.proxy.once(&get("/")).await.colour(), "blue");
    }
}

/// The events of one connection, as they come.
struct Events {
    conn: Conn,
    text: String,
}

impl Events {
    async fn open(admin: Admin) -> Self {
        let mut conn = Conn::open(admin.addr).await;
        conn.send(format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", admin.addr).as_bytes()).await;
        assert_eq!(conn.head().await.status, 200);
        Self { conn, text: String::new() }
    }

    /// Everything of these kinds up to one that fits.
    async fn until(&mut self, kinds: &[&str], fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        within("an event", async {
            loop {
                while let Some((frame, rest)) = self.text.split_once("\n\n") {
                    let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
                    let event: Value = data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
                    self.text = rest.to_owned();
                    if kinds.iter().any(|kind| event["kind"] == *kind) {
                        seen.push(event);
                        if seen.last().is_some_and(&fits) {
                            return;
                        }
                    }
                }
                self.text.push_str(&String::from_utf8_lossy(&self.conn.wire.chunk().await.unwrap()));
            }
        })
        .await;
        seen
    }
}

fn ended(event: &Value) -> bool {
    event["passed"].is_boolean()
}

/// Fails when: in `control::controller`, `ask` does not answer early; in `control::trial`, `follow` tells nothing, or the
/// end is told after the change; in `control::under_way`, the view is not the live one.
#[tokio::test]
async fn a_switch_in_the_background_is_told_step_by_step() {
    let set = set().await;
    let mut events = Events::open(set.proxy.admin).await;
    let reply = set.proxy.admin.try_switch("iris", json!({"to": "green", "wait": "none"})).await;
    assert_eq!((reply.status, &reply.json["outcome"]), (202, &json!("under_way")), "{}", reply.text);
    assert_eq!(reply.json["active"], "blue");
    let under_way = set.until_held().await;
    assert_eq!((&under_way["what"], &under_way["slot"]), (&json!("switch to green"), &json!("green")));
    assert_eq!((&under_way["actor"], &under_way["cancellable"]), (&json!("api 127.0.0.1"), &json!(true)));
    assert!(under_way["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        (&under_way["gate"]["steps"][0]["name"], &under_way["gate"]["steps"][0]["result"]),
        (&json!("readiness"), &json!("pass"))
    );
    assert_eq!(set.proxy.once(&get("/")).await.colour(), "blue", "traffic stays until the gate has passed");

    set.green.step();
    let seen = events.until(&["gate", "change"], |event| event["kind"] == "change").await;
    let running: Vec<_> = seen.iter().filter_map(|event| event["progress"]["running"]["name"].as_str()).collect();
    assert!(running.contains(&"golden"), "{running:?}");
    let last = &seen[seen.len() - 2];
    assert_eq!((&last["passed"], &last["purpose"], &last["slot"]), (&json!(true), &json!("switch"), &json!("green")));
    until("traffic to move", || async {
        let active = set.proxy.admin.active("iris").await;
        if active == "green" { Ok(()) } else { Err(active) }
    })
    .await;
    assert_eq!(set.proxy.once(&get("/")).await.colour(), "green");
    let status = set.proxy.admin.status("iris").await;
    assert_eq!(
        (&status["under_way"], &status["slots"]["green"]["tested"]["gate"]["passed"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(set.proxy.admin.history("iris").await[0]["gate"], status["slots"]["green"]["tested"]["gate"]);
    assert_eq!(set.proxy.metric("verdigris_gates_total", &["purpose=\"switch\"", "result=\"passed\""]).await, 1.0);
}

/// Fails when: in `admin::changes`, `wait: none` is said to be done; in `control::controller`, what was refused at once is
/// said to be under way.
#[tokio::test]
async fn what_is_refused_or_unchanged_is_said_at_once() {
    let set = set().await;
    let ask = async |body| set.proxy.admin.try_switch("iris", body).await;
    let same = ask(json!({"to": "blue", "wait": "none"})).await;
    assert_eq!((same.status, &same.json["outcome"]), (200, &json!("unchanged")), "{}", same.text);
    assert_eq!(ask(json!({"wait": "none", "if_generation": 99})).await.status, 412);
    let back = set.proxy.admin.try_rollback("iris", json!({"wait": "none"})).await;
    assert_eq!((back.status, &back.json["error"]), (409, &json!("refused")));
    set.green.step();
    let moved = ask(json!({"wait": "switched"})).await;
    assert_eq!((moved.status, &moved.json["outcome"]), (200, &json!("switched")), "{}", moved.text);
}

/// Fails when: in `control::trials`, `stop_gate` does not stop, or `cancel` does not step the machine; in
/// `control::effects`, the journal has no line about it.
#[tokio::test]
async fn a_change_is_cancelled_and_its_gate_ends_at_once() {
    let set = set().await;
    let before = set.proxy.admin.status("iris").await["generation"].clone();
    let mut events = Events::open(set.proxy.admin).await;
    let first = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    let cancelled = set.proxy.admin.call("DELETE", CHANGE, None).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    assert!(cancelled.json["message"].as_str().unwrap().contains("switch to green"), "{}", cancelled.text);
    let reply = within("the caller to be told", first).await.unwrap();
    assert_eq!((reply.status, &reply.json["error"]), (409, &json!("cancelled")), "{}", reply.text);
    assert!(reply.text.contains("cancelled by api 127.0.0.1"), "{}", reply.text);
    set.until_let_go().await;
    set.assert_as_before(&before).await;
    let seen = events.until(&["gate"], ended).await;
    let step = seen.last().unwrap()["progress"]["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&step["name"], &step["result"]), (&json!("golden"), &json!("fail")));
    assert!(step["evidence"].to_string().contains("given up: cancelled by api 127.0.0.1"), "{step}");
    let entry = &set.proxy.admin.history("iris").await[0];
    assert_eq!((&entry["outcome"], &entry["to"]), (&json!("refused"), &json!("green")), "{entry}");
    assert!(entry["reason"].as_str().unwrap().contains("cancelled by api 127.0.0.1"), "{entry}");
    assert_eq!(set.proxy.metric("verdigris_gates_total", &["result=\"cancelled\""]).await, 1.0);

    let nothing = set.proxy.admin.call("DELETE", CHANGE, None).await;
    assert_eq!((nothing.status, &nothing.json["error"]), (409, &json!("refused")), "{}", nothing.text);
    set.green.step();
    set.proxy.switch("green").await;
}

/// Fails when: in `control::refusal`, `busy` does not say what is under way; in `switch::machine`, `asked` ends the older
/// request though the newer one is refused, or does not end it.
#[tokio::test]
async fn a_newer_change_takes_the_place_of_an_older_one_if_it_says_so() {
    let set = set().await;
    let first = set.calls("POST", SWITCH, json!({"to": "green"}));
    let under_way = set.until_held().await;
    let ask = async |body| set.proxy.admin.try_switch("iris", body).await;
    let busy = ask(json!({"to": "green"})).await;
    assert_eq!((busy.status, &busy.json["error"]), (409, &json!("busy")), "{}", busy.text);
    let since = under_way["since"].as_str().unwrap();
    for part in ["switch to green", "api 127.0.0.1", since] {
        assert!(busy.json["message"].as_str().unwrap().contains(part), "{part}: {}", busy.text);
    }
    for part in ["DELETE /v1/services/iris/change", "supersede"] {
        assert!(busy.json["hint"].as_str().unwrap().contains(part), "{part}: {}", busy.text);
    }
    assert_eq!(ask(json!({"supersede": true, "if_generation": 99})).await.status, 412);
    assert_eq!(set.proxy.admin.try_rollback("iris", json!({"supersede": true})).await.json["error"], "refused");
    assert_eq!(set.proxy.admin.status("iris").await["under_way"]["since"], since, "the first goes on");

    let second = set.calls("POST", SWITCH, json!({"to": "green", "supersede": true}));
    let reply = within("the first to be told", first).await.unwrap();
    assert_eq!((reply.status, &reply.json["error"]), (409, &json!("cancelled")), "{}", reply.text);
    assert!(reply.text.contains("superseded by a newer switch"), "{}", reply.text);
    until_true("the first one's request to be given up", || set.green.gone() == 1).await;
    set.green.step();
    let reply = within("the second to be done", second).await.unwrap();
    assert_eq!((reply.status, &reply.json["active"]), (200, &json!("green")), "{}", reply.text);
    assert_eq!(set.proxy.admin.history("iris").await[1]["outcome"], "refused");
}

/// Fails when: in `switch::machine`, who asks to stay where traffic is does not call the switch off.
#[tokio::test]
async fn new_contents_or_a_word_to_stay_supersede_a_switch() {
    let set = set().await;
    let before = set.proxy.admin.status("iris").await["generation"].clone();
    let first = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    let stay = set.proxy.admin.try_switch("iris", json!({"to": "blue", "supersede": true})).await;
    assert_eq!((stay.status, &stay.json["outcome"]), (200, &json!("unchanged")), "{}", stay.text);
    assert_eq!(within("the first to be told", first).await.unwrap().json["error"], "cancelled");
    set.until_let_go().await;
    set.assert_as_before(&before).await;

    let again = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    let body = json!({"endpoints": [set.green.url()], "version": "v9", "supersede": true});
    let put = set.proxy.admin.put_slot("iris", "green", body).await;
    assert_eq!((put.status, &put.json["outcome"]), (200, &json!("replaced")), "{}", put.text);
    let reply = within("the second to be told", again).await.unwrap();
    assert!(reply.text.contains("superseded by a newer slot change"), "{}", reply.text);
    set.until_let_go().await;
}

/// Fails when: in `control::handle_gates`, `dry_run` asks a server or the controller; when a step, the drain or the way back
/// is left out.
#[tokio::test]
async fn a_dry_run_asks_nobody_and_changes_nothing() {
    // The probes come once: nothing but a gate would ask.
    let set = set_with("path = \"/v2/health/ready\"\ninterval = \"1h\"\ntimeout = \"1s\"").await;
    let mut held = set.proxy.conn().await;
    held.send(&get("/live?do=held")).await;
    until_true("a request on blue", || set.blue.hits() == 1).await;
    let met =
        || [&set.blue, &set.green].map(|one| (one.shared.connections.load(SeqCst), one.shared.probes.load(SeqCst)));
    let (before, entries) = (met(), set.proxy.admin.history("iris").await.len());
    let generation = set.proxy.admin.status("iris").await["generation"].clone();
    let run = async |body| {
        let reply = set.proxy.admin.try_switch("iris", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json
    };
    let plan = run(json!({"dry_run": true})).await;
    assert_eq!(
        (&plan["to"], &plan["active"], &plan["refused"]),
        (&json!("green"), &json!("blue"), &Value::Null),
        "{plan}"
    );
    let steps: Vec<_> = plan["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert!(steps.starts_with(&["readiness", "contract", "golden"]), "{plan}");
    assert!(plan["steps"][0]["what"].as_str().unwrap().contains(&set.green.url()), "{plan}");
    assert!(plan["steps"][2]["what"].as_str().unwrap().contains("golden.jsonl"), "{plan}");
    assert_eq!((&plan["drain"]["in_flight"]["unary"], &plan["rollback"]["to"]), (&json!(1), &json!("blue")), "{plan}");
    assert_eq!(plan["rollback"]["instant"], true, "{plan}");
    let late = run(json!({"dry_run": true, "if_generation": 99})).await;
    assert!(late["refused"].as_str().unwrap().contains("generation"), "{late}");
    let same = run(json!({"dry_run": true, "to": "blue"})).await;
    assert!(same["refused"].as_str().unwrap().contains("active already") && same["steps"] == json!([]), "{same}");
    assert_eq!(met(), before, "connections and probes at both servers");
    assert_eq!(set.proxy.admin.history("iris").await.len(), entries);
    set.assert_as_before(&generation).await;

    let first = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    let busy = run(json!({"dry_run": true})).await;
    assert!(busy["refused"].as_str().unwrap().contains("switch to green"), "{busy}");
    assert_eq!(run(json!({"dry_run": true, "supersede": true})).await["refused"], Value::Null);
    assert_eq!(set.held(), 1, "the first goes on");
    set.green.step();
    assert_eq!(within("the first", first).await.unwrap().status, 200);
    assert_eq!(run(json!({"dry_run": true})).await["to"], "blue");
    set.blue.step();
    assert_eq!(held.answer().await.status, 200);
}

/// P3. Fails when: in `control::handle`, `needs_reason` is not asked, or takes blanks for a reason.
#[tokio::test]
async fn force_needs_a_reason() {
    let set = set().await;
    let before = set.proxy.admin.status("iris").await["generation"].clone();
    let endpoints = [set.green.url()];
    for (method, path, body) in [
        ("POST", SWITCH, json!({"to": "green", "force": true})),
        ("POST", SWITCH, json!({"to": "green", "force": true, "reason": " \t"})),
        ("POST", SWITCH, json!({"to": "green", "force": true, "dry_run": true})),
        ("POST", "/v1/services/iris/rollback", json!({"force": true})),
        ("PUT", GREEN, json!({"endpoints": endpoints, "force": true, "reason": ""})),
    ] {
        let reply = set.proxy.admin.call(method, path, Some(body)).await;
        assert_eq!((reply.status, &reply.json["error"]), (422, &json!("invalid")), "{path}: {}", reply.text);
        assert!(reply.json["message"].as_str().unwrap().contains("reason"), "{}", reply.text);
        assert!(reply.json["hint"].as_str().unwrap().contains("--reason"), "{}", reply.text);
    }
    set.assert_as_before(&before).await;
}

/// Fails when: in `control::trials`, `test` keeps the older one running, or `cancel_test` stops nothing; in
/// `control::entry`, new contents keep what was said of the old ones.
#[tokio::test]
async fn a_test_in_the_background_is_seen_overtaken_and_cancelled() {
    let set = set().await;
    let mut events = Events::open(set.proxy.admin).await;
    let call = async |method, body| set.proxy.admin.call(method, TEST, body).await;
    let tested = async || set.proxy.admin.status("iris").await["slots"]["green"]["tested"].clone();
    let reply = call("POST", Some(json!({"background": true}))).await;
    assert_eq!((reply.status, &reply.json["under_way"]), (202, &json!(true)), "{}", reply.text);
    until_true("the first test", || set.held() == 1).await;
    assert_eq!(call("POST", Some(json!({"background": true}))).await.status, 202);
    let seen = events.until(&["gate"], ended).await;
    assert!(seen.last().unwrap().to_string().contains("superseded by a newer test"), "{seen:#?}");
    until_true("the first test's connection to be closed", || set.green.gone() == 1).await;
    assert_eq!(tested().await, Value::Null, "what was given up says nothing");

    set.green.step();
    let last = events.until(&["gate"], ended).await.pop().unwrap();
    assert_eq!((&last["passed"], &last["purpose"]), (&json!(true), &json!("test")), "{last}");
    until("the result to be noted", || async {
        let seen = tested().await;
        if seen["gate"]["passed"] == true { Ok(()) } else { Err(seen) }
    })
    .await;
    assert_eq!(set.proxy.admin.active("iris").await, "blue");

    assert_eq!(call("POST", Some(json!({"background": true}))).await.status, 202);
    until_true("another test", || set.held() == 1).await;
    assert_eq!(call("DELETE", None).await.status, 200);
    set.until_let_go().await;
    let none = call("DELETE", None).await;
    assert_eq!((none.status, &none.json["error"]), (409, &json!("refused")), "{}", none.text);
    assert_eq!(tested().await["gate"]["passed"], true);
    assert_eq!(set.proxy.admin.put_slot("iris", "green", json!({"endpoints": [set.green.url()]})).await.status, 200);
    assert_eq!(tested().await, Value::Null, "nobody has tested what stands there now");
}

/// Fails when: in `admin::slot_gate`, the gate runs in a task that outlives its caller.
#[tokio::test]
async fn a_test_ends_when_its_caller_hangs_up() {
    let set = set().await;
    let mut events = Events::open(set.proxy.admin).await;
    let mut caller = Conn::open(set.proxy.admin.addr).await;
    let call = String::from_utf8(request("POST", TEST, "", b"")).unwrap();
    caller.send(call.replacen("iris.test", &set.proxy.admin.addr.to_string(), 1).as_bytes()).await;
    until_true("the test", || set.held() == 1).await;
    drop(caller);
    set.until_let_go().await;
    let last = events.until(&["gate"], ended).await.pop().unwrap();
    assert!(last.to_string().contains("nobody waits for it any more"), "{last}");
}

/// Fails when: in `control::reload`, a newer file waits for the gates of an older one.
#[tokio::test]
async fn a_newer_file_does_not_wait_for_the_gates_of_an_older_one() {
    let set = set().await;
    let file = |active: &str, cut_after: &str| {
        let mut config = config(&set.blue, &set.green, "path = \"/v2/health/ready\"\ninterval = \"50ms\"");
        config.services[0].active = active.to_owned();
        config.services[0].tables.push_str(&format!("[service.drain]\ncut_after = \"{cut_after}\"\n"));
        std::fs::write(set.proxy.config_path(), config.text()).unwrap();
    };
    file("green", "1h");
    // The watch may have been first; both then wait for the same gates.
    let first = set.calls("POST", "/v1/config/reload", json!({}));
    let under_way = set.until_held().await;
    assert_eq!(under_way["what"], "switch to green by the config file");
    let fixed = set.proxy.admin.call("DELETE", CHANGE, None).await;
    assert_eq!((fixed.status, &fixed.json["error"]), (409, &json!("refused")), "{}", fixed.text);
    file("blue", "2h");
    let second = set.calls("POST", "/v1/config/reload", json!({}));
    let reply = within("the newer file", second).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    // Cancelled, unless the watch had been first: then it reads the newer file, too.
    let first = within("the older one", first).await.unwrap();
    assert!([200, 409].contains(&first.status), "{}", first.text);
    set.until_let_go().await;
    assert_eq!(set.proxy.admin.active("iris").await, "blue");
}

/// Fails when: in `control::controller`, the end waits for a gate, or leaves its caller without an answer.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_gate() {
    let set = set().await;
    let first = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    set.proxy.begin_shutdown();
    let reply = within("the caller to be told", first).await.unwrap();
    assert_eq!((reply.status, &reply.json["error"]), (503, &json!("shutting_down")), "{}", reply.text);
    within("the end", set.proxy.ended()).await;
    until_true("the gate's connection to be closed", || set.green.gone() == 1).await;
}

/// Fails when: in `control::apply`, `remove` forgets who waits for a change of the service, leaves the gate running, or
/// keeps the refusal out of the history.
#[tokio::test]
async fn a_change_of_a_service_that_the_file_takes_out_is_refused_and_noted() {
    let set = set().await;
    let switching = set.calls("POST", SWITCH, json!({"to": "green"}));
    set.until_held().await;
    let other = Config::pair(&set.blue, &set.green).service(|service| service.name = "rose".to_owned());
    std::fs::write(set.proxy.config_path(), other.text()).unwrap();
    assert_eq!(set.proxy.admin.call("POST", "/v1/config/reload", None).await.status, 200);
    let refused = within("the answer", switching).await.unwrap();
    assert_eq!(refused.status, 409, "{}", refused.text);
    let history = set.proxy.admin.history("iris").await;
    let switch = history.iter().find(|entry| entry["action"] == "switch").cloned().unwrap_or_default();
    assert_eq!((&switch["outcome"], &switch["to"]), (&json!("refused"), &json!("green")), "{history:?}");
}
