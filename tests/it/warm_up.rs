//! The warm-up before a switch, and the connections that are open when the first users come.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};

use crate::{
    gate::{GOLDEN, WITH_GOLDEN, refused, start, step},
    support::{
        client::{Conn, get, request},
        config::Config,
        grpc::Channel,
        grpc_origin::GrpcOrigin,
        load::{Kind, Load, assert_no_failures},
        origin::{Cold, Origin},
        proxy::Proxy,
        wait::until_true,
    },
};

/// Probes that have seen everything healthy once, and open no connection during a test.
const STILL: &str = "path = \"/v2/health/ready\"\ninterval = \"1h\"\nrise = 1\ntimeout = \"5s\"";

/// P3. Fails when: in `checks::gate`, the warm-up is not taken; in `checks::warm_up::rule`, what becomes faster to the end
/// is let through.
#[tokio::test]
async fn a_green_that_is_ready_but_cold_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], "golden = \"golden.jsonl\"\nwarm_up = \"380ms\"", GOLDEN).await;
    green.cool(Cold::Falling(1000));
    let problem = refused(&proxy).await;
    assert_eq!(step(&problem["gate"], "golden").0, "pass", "its answers are right");
    let (result, said) = step(&problem["gate"], "warm_up");
    assert_eq!(result, "fail", "{said}");
    assert!(said.contains("not warm within") && said.contains("first answer after"), "{said}");
    assert!(problem["message"].as_str().unwrap().contains("slot green of service iris is not warm"), "{problem}");
    // Once it is warm it is taken, and the report says how that was seen.
    green.cool(Cold::First(0, 0));
    let proxy = start(&blue, &[&green], WITH_GOLDEN, GOLDEN).await;
    let (result, said) = step(&proxy.switch("green").await["gate"], "warm_up");
    assert_eq!(result, "pass", "{said}");
    assert!(said.contains("8 at once:") && said.contains("requests in"), "{said}");
}

/// Fails when: in `checks::warm_up::furnace`, the end of the time does not end the step; in its rule, a server that
/// answers nothing is let through.
#[tokio::test]
async fn a_green_that_hangs_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let gate = "golden = \"golden.jsonl\"\nwarm_up = \"500ms\"\nwarm_up_requests = \"warm.jsonl\"";
    let proxy = start_with(&blue, &green, gate, "/x?do=hang").await;
    let (result, said) = step(&refused(&proxy).await["gate"], "warm_up");
    assert_eq!(result, "fail");
    assert!(said.contains("not warm within") && said.contains("nothing was answered"), "{said}");
}

/// Fails when: in `checks::warm_up::furnace`, a request that fails does not count, or fails without its reason.
#[tokio::test]
async fn a_green_that_fails_warm_up_requests_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let gate = "golden = \"golden.jsonl\"\nwarm_up_requests = \"warm.jsonl\"";
    // An answer breaks off when the test permits it.
    green.shared.steps.add_permits(100);
    for (target, reason) in
        [("/x?code=503", "status: expected 2xx, found 503"), ("/x?do=close", "no answer"), ("/x?do=die&how=fin", "cut")]
    {
        let proxy = start_with(&blue, &green, gate, target).await;
        let (result, said) = step(&refused(&proxy).await["gate"], "warm_up");
        assert_eq!(result, "fail", "{target}");
        assert!(
            said.contains("requests failed: 1 different ones") && said.contains("warm (line 1)"),
            "{target}: {said}"
        );
        assert!(said.contains(reason), "{target}: {said}");
    }
}

/// The golden file beside one of a single request to warm up with.
async fn start_with(blue: &Origin, green: &Origin, gate: &str, target: &str) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::pair(blue, green).service(|service| service.tables = format!("[service.gate]\n{gate}\n"));
    std::fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    std::fs::write(dir.path().join("golden.jsonl"), GOLDEN).unwrap();
    let warm = format!("{{\"name\": \"warm\", \"request\": {{\"path\": \"{target}\"}}, \"expect\": {{}}}}\n");
    std::fs::write(dir.path().join("warm.jsonl"), warm).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    proxy
}

/// Fails when: in `control::gates`, the file of `warm_up_requests` is not read with the others.
#[tokio::test]
async fn a_broken_file_of_requests_is_refused_with_its_place() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let gate = "golden = \"golden.jsonl\"\nwarm_up_requests = \"warm.jsonl\"";
    let proxy = start_with(&blue, &green, gate, "/x").await;
    std::fs::remove_file(proxy.dir.path().join("warm.jsonl")).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert!(reply.status == 422 && reply.text.contains("service[0].gate.warm_up_requests"), "{}", reply.text);
}

/// Fails when: a service without requests is refused, the slot that serves is burdened, or `warm_up = "0s"` does not turn the step off.
#[tokio::test]
async fn without_requests_it_is_skipped_and_it_can_be_turned_off() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], "", GOLDEN).await;
    let (result, said) = step(&proxy.switch("green").await["gate"], "warm_up");
    assert_eq!((result.as_str(), said.contains("no requests")), ("skipped", true), "{said}");
    let proxy = start(&green, &[&blue], WITH_GOLDEN, GOLDEN).await;
    let reply = proxy.admin.call("POST", "/v1/services/iris/slots/blue/test", None).await;
    let (result, said) = step(&reply.json["gate"], "warm_up");
    assert_eq!((result.as_str(), said.contains("serves already")), ("skipped", true), "{said}");
    let proxy = start(&blue, &[&green], "golden = \"golden.jsonl\"\nwarm_up = \"0s\"", GOLDEN).await;
    let reply = proxy.switch("green").await;
    let (result, said) = step(&reply["gate"], "warm_up");
    assert_eq!((result.as_str(), said.as_str()), ("skipped", "service.gate.warm_up is zero"));
}

/// Requests of users that met a cold inference after a switch to a server whose first twenty take long.
async fn cold_for_users(gate: &str) -> u64 {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&green], gate, GOLDEN).await;
    let load = Load::start(proxy.addr, &[(Kind::Get, 2), (Kind::Post, 2)]);
    load.more(20).await;
    green.cool(Cold::First(20, 20));
    proxy.switch("green").await;
    load.more(40).await;
    assert_no_failures(&load.finish().await);
    green.shared.cold_for_users.load(SeqCst)
}

/// What the warm-up is for. Fails when: in `checks::warm_up`, nothing is sent, or it ends before the answers are even; or,
/// the other way round, when this test does not notice a cold server.
#[tokio::test]
async fn no_user_meets_a_cold_inference() {
    assert_eq!(cold_for_users(WITH_GOLDEN).await, 0);
    assert!(cold_for_users("golden = \"golden.jsonl\"\nwarm_up = \"0s\"").await > 5);
}

/// Sends one request on each connection, all of them held at the same time, and lets them go.
async fn held_together(conns: &mut [Conn], origin: &Origin) {
    let before = origin.hits();
    for conn in conns.iter_mut() {
        conn.send(&get("/?do=held")).await;
    }
    until_true("all requests at the server", || origin.hits() >= before + conns.len() as u64).await;
    origin.shared.steps.add_permits(conns.len());
    for conn in conns {
        let head = conn.head().await;
        assert_eq!(conn.try_rest(head).await.unwrap().colour(), origin.shared.colour);
    }
}

fn still(config: Config) -> Config {
    config.service(|service| service.health = STILL.to_owned())
}

/// On every worker, over both protocols, as many at once as before the switch; and after a rollback to a slot whose
/// connections were closed when it had drained. Fails when: in `control::effects`, `start_gate` lets nobody connect; in
/// `proxy::ahead`, one connection is opened whatever the active slot has; or what was opened is not what is used.
#[tokio::test]
async fn the_first_users_on_green_open_no_connection() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = Proxy::ready(&still(Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc)))).await;
    // Clients go to the worker that has the fewest when they ask: three connections to each of the two, then a channel.
    let mut conns = Vec::new();
    for _ in 0..6 {
        conns.push(proxy.conn().await);
    }
    held_together(&mut conns, &blue).await;
    let channels = [Channel::open(proxy.addr).await, Channel::open(proxy.addr).await];
    let reply = proxy.switch("green").await;
    let (result, said) = step(&reply["gate"], "connections");
    assert_eq!((result.as_str(), said.contains("8 connections opened by 2 workers")), ("pass", true), "{said}");
    let (http, grpc) = (green.connections(), green_grpc.shared.connections.load(SeqCst));
    held_together(&mut conns, &green).await;
    for channel in &channels {
        assert_eq!(channel.try_call("Unary", &["hello"]).await.unwrap().messages, ["green:hello"]);
    }
    assert_eq!((green.connections(), green_grpc.shared.connections.load(SeqCst)), (http, grpc));

    proxy.admin.until_safe_to_delete("iris", "blue").await;
    let reply = proxy.admin.rollback("iris").await;
    assert_eq!(step(&reply["gate"], "connections").0, "pass", "{reply}");
    let http = blue.connections();
    held_together(&mut conns, &blue).await;
    assert_eq!(blue.connections(), http);
}

/// A server may close what nobody has used yet, before a request or while one is on its way; no policy may lose one for it
/// that would not lose it for a kept connection. Fails when: in `upstream::pool`, a connection that was opened ahead
/// counts as new, or one that the server has closed is used.
#[tokio::test]
async fn a_server_that_closes_unused_connections_costs_no_request() {
    let targets = [("GET", "/x"), ("POST", "/v2/models/iris/infer"), ("POST", "/admin/do")];
    for (replay, sure) in [("never", 0), ("idempotent", 1), ("inference", 2), ("reused", 3)] {
        for (index, (method, target)) in targets.into_iter().enumerate() {
            let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
            let config = still(Config::pair(&blue, &green));
            let config = config.service(|service| service.keys = format!("replay = \"{replay}\""));
            let proxy = Proxy::ready(&config).await;
            let mut conn = proxy.conn().await;
            proxy.switch("green").await;
            green.close_unused(2).await;
            let answer = conn.call(&request(method, target, "", b"{}")).await;
            assert_eq!((answer.status, green.hits()), (200, 1), "{replay} {method} {target}: {}", answer.text());
            if index < sure {
                proxy.switch("blue").await;
                blue.shared.first_drops.store(1, SeqCst);
                let answer = conn.call(&request(method, target, "", b"{}")).await;
                let dropped = blue.shared.first_drops.load(SeqCst);
                assert_eq!(
                    (answer.status, blue.hits(), dropped),
                    (200, 1, 0),
                    "{replay} {method} {target}: {}",
                    answer.text()
                );
            }
        }
    }
}

/// Connections are a courtesy. Fails when: in `checks::connections`, what cannot be opened fails the gate.
#[tokio::test]
async fn a_pool_that_keeps_nothing_is_no_reason_to_refuse() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = "[service.pool]\nidle_max = 0".into());
    let proxy = Proxy::ready(&config).await;
    let reply = proxy.switch("green").await;
    assert_eq!(step(&reply["gate"], "connections").0, "skipped", "{reply}");
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
}

/// Endpoints that are put into the active slot are not the workers' yet. Fails when: the gate of a slot's new contents
/// waits for connections to the old ones.
#[tokio::test]
async fn new_contents_of_the_active_slot_are_warmed_and_not_connected() {
    let (blue, next) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue, &[&next], WITH_GOLDEN, GOLDEN).await;
    let reply = proxy.admin.put_slot("iris", "blue", json!({"endpoints": [next.url()], "version": "2"})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let steps: Vec<&Value> = reply.json["gate"]["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps, ["readiness", "contract", "golden", "warm_up"]);
}
