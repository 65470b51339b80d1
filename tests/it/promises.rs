//! The promises P1 to P5 and P7, each on its own; `load.rs` has them all at once under load.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    client::{Conn, get, infer},
    config::Config,
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::{Origin, Ready, Reuse},
    proxy::Proxy,
    wait::{until_true, within},
    websocket::WebSocket,
};

/// P1 and P2. Fails when: the switch answers before the table is published, a slot is chosen per connection instead of
/// per request, or a client connection is closed because of a switch.
#[tokio::test]
async fn after_a_switch_the_next_request_on_the_same_connection_reaches_the_new_slot() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    for to in ["green", "blue", "green"].repeat(10) {
        proxy.switch(to).await;
        let answer = conn.call(&infer("", b"{}")).await;
        assert_eq!((answer.colour().as_str(), answer.field("x-verdigris-slot").as_deref()), (to, Some(to)));
        assert_eq!(answer.field("connection"), None, "no word about closing");
    }
}

/// P1 and P2 over HTTP/2, with the pair of addresses. Fails when: a GOAWAY is sent at a switch, or the HTTP address and
/// the gRPC address of an endpoint do not move in one instant.
#[tokio::test]
async fn http_and_grpc_of_a_slot_move_together() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = Proxy::ready(&Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;
    let (mut conn, channel) = (proxy.conn().await, Channel::open(proxy.addr).await);
    for to in ["green", "blue"].repeat(10) {
        proxy.switch(to).await;
        assert_eq!(channel.call("Unary", &["x"]).await.messages, [format!("{to}:x")]);
        assert_eq!(conn.call(&get("/")).await.colour(), to);
    }
    assert_eq!(channel.ended(), None);
}

/// P2 at a reload. Fails when: a reload tears down listeners or client connections.
#[tokio::test]
async fn a_reload_closes_no_connection() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    let mut conn = proxy.conn().await;
    let mut socket = WebSocket::open(proxy.addr).await;
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    let config = config.service(|service| service.active = "green".into());
    std::fs::write(proxy.config_path(), config.text()).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(conn.call(&get("/")).await.colour(), "green");
    socket.echo("still here").await;
}

/// P3. Fails when: a switch is published without its gate, or force leaves no trace.
#[tokio::test]
async fn an_unready_slot_is_refused_unless_forced() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let before = proxy.admin.status("iris").await["generation"].clone();
    for unready in [Ready::Status(503), Ready::Status(400), Ready::Status(204), Ready::Hang] {
        green.readiness(unready);
        let reply = proxy.admin.try_switch("iris", json!({"to": "green"})).await;
        assert_eq!((reply.status, reply.json["error"].as_str()), (409, Some("refused")), "{unready:?}: {}", reply.text);
        assert_eq!(reply.json["gate"]["passed"], false);
        let steps = reply.json["gate"]["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["result"] == "fail" && step["evidence"][0].is_string()), "{steps:?}");
        assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    }
    assert_eq!(proxy.admin.status("iris").await["generation"], before, "a refusal changes nothing");
    assert_eq!(proxy.admin.history("iris").await[0]["outcome"], "refused");

    let forced = proxy.admin.switch("iris", json!({"to": "green", "force": true, "reason": "blue burns"})).await;
    assert_eq!((&forced["forced"], &forced["active"]), (&json!(true), &json!("green")));
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
    let entry = &proxy.admin.history("iris").await[0];
    assert_eq!((&entry["forced"], &entry["reason"]), (&json!(true), &json!("blue burns")));
    assert_eq!((&entry["action"], &entry["outcome"]), (&json!("switch"), &json!("done")));
    assert_eq!(entry["gate"]["passed"], false, "the evidence is kept");
}

/// P3 for a slot whose server is not there at all. Fails when: a refused connection counts as ready.
#[tokio::test]
async fn a_slot_whose_server_is_gone_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    green.kill().await;
    assert_eq!(proxy.admin.try_switch("iris", json!({"to": "green"})).await.status, 409);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// P3 for the pair: HTTP ready and gRPC not. Fails when: only one of the two addresses is asked.
#[tokio::test]
async fn a_slot_is_ready_when_both_its_addresses_are() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))
        .service(|service| service.health.push_str("\ngrpc = \"v2\""));
    let proxy = Proxy::ready(&config).await;
    green_grpc.shared.ready.store(false, SeqCst);
    assert_eq!(proxy.admin.try_switch("iris", json!({"to": "green"})).await.status, 409);
    green_grpc.shared.ready.store(true, SeqCst);
    proxy.switch("green").await;
}

/// P4. Fails when: a lease ends at the head of an answer, tunnels or HTTP/2 streams hold none, or the verdict looks at
/// connections instead of leases.
#[tokio::test]
async fn safe_to_delete_waits_for_streams_calls_and_tunnels() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = Proxy::ready(&Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;

    let mut sse = proxy.conn().await;
    sse.send(&get("/?do=steps&n=2")).await;
    sse.head().await;
    let mut unary = proxy.conn().await;
    unary.send(&infer("?do=held", b"{}")).await;
    until_true("both requests to reach blue", || blue.hits() == 2).await;
    let channel = Channel::open(proxy.addr).await;
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:a"));
    let mut socket = WebSocket::open(proxy.addr).await;

    assert_eq!(proxy.admin.drain("iris", "blue").await["safe_to_delete"], false, "it serves");
    assert_eq!(proxy.admin.drain("iris", "green").await["safe_to_delete"], true, "nothing runs on standby");
    proxy.switch("green").await;
    let drain = proxy.admin.drain("iris", "blue").await;
    assert_eq!(drain["safe_to_delete"], false, "{drain}");
    assert_eq!((&drain["in_flight"]["total"], &drain["in_flight"]["tunnel"]), (&json!(4), &json!(1)), "{drain}");
    assert!(drain["oldest_ms"].is_u64() && drain["why"].as_str().is_some_and(|why| !why.is_empty()), "{drain}");
    assert_eq!(proxy.admin.status("iris").await["slots"]["blue"]["phase"], "draining");

    for _ in 0..3 {
        blue.step();
    }
    let answer = within("the held answer", unary.answer()).await;
    assert_eq!(answer.colour(), "blue");
    while sse.event().await.is_some() {}
    in_flight(&proxy, 2).await;
    call.half_close();
    assert_eq!(call.finish().await.grpc_status().as_deref(), Some("0"));
    in_flight(&proxy, 1).await;
    assert_eq!(proxy.admin.drain("iris", "blue").await["safe_to_delete"], false, "the tunnel is still open");
    socket.echo("last words").await;
    drop(socket);
    proxy.admin.until_safe_to_delete("iris", "blue").await;
    assert_eq!(proxy.admin.status("iris").await["slots"]["blue"]["phase"], "drained");
    assert_eq!(proxy.admin.drain("iris", "green").await["safe_to_delete"], false, "it serves");
}

async fn in_flight(proxy: &Proxy, count: u64) {
    crate::support::wait::until(&format!("{count} leases on blue"), || async {
        let drain = proxy.admin.drain("iris", "blue").await;
        if drain["in_flight"]["total"] == count { Ok(()) } else { Err(drain) }
    })
    .await;
}

/// P4 when a client goes away in the middle. Fails when: the lease of an abandoned request is never given back.
#[tokio::test]
async fn an_abandoned_stream_gives_its_lease_back() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let mut stream = proxy.conn().await;
    stream.send(&get("/?do=steps&n=5")).await;
    stream.head().await;
    let mut waiting = proxy.conn().await;
    waiting.send(&get("/?do=hang")).await;
    until_true("both requests to reach blue", || blue.hits() == 2).await;
    proxy.switch("green").await;
    in_flight(&proxy, 2).await;
    drop((stream, waiting));
    proxy.admin.until_safe_to_delete("iris", "blue").await;
    until_true("both servers to be told", || blue.gone() == 2).await;
}

/// Calls that must all succeed, from many connections that pause a little between requests.
async fn calls(proxy: &Proxy, connections: u64, each: u64, bad_every: Option<u64>) {
    let mut tasks = JoinSet::new();
    for client in 0..connections {
        let addr = proxy.addr;
        tasks.spawn(async move {
            let mut conn = Conn::open(addr).await;
            for round in 0..each {
                if bad_every.is_some_and(|every| round % every == 0) {
                    assert_eq!(conn.call(&infer("?code=500&then=close", b"{\"bad\":1}")).await.status, 500);
                    continue;
                }
                let body = vec![b'x'; usize::try_from((client * 31 + round * 977) % 70_000).unwrap()];
                let request = if round % 2 == 0 { get("/v2/models/iris") } else { infer("", &body) };
                let answer = conn.call(&request).await;
                assert_eq!(
                    answer.status,
                    200,
                    "client {client}, round {round}: {:?} {}",
                    answer.error(),
                    answer.text()
                );
                tokio::time::sleep(Duration::from_millis((client * 7 + round * 13) % 50)).await;
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

/// P5. Fails when: a dead pooled connection is used without a look, or its failure is not replayed.
#[tokio::test]
async fn a_server_that_closes_idle_connections_costs_no_request() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    blue.reuse(Reuse::CloseIdle(5, 50));
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    calls(&proxy, 24, 100, None).await;
    assert!(blue.shared.connections.load(SeqCst) > 100, "the server did close connections");
}

/// P5, the race itself, made certain: the server closes as the request comes. Fails when: replay is off, uses another
/// pooled connection that is just as dead, or forgets the body.
#[tokio::test]
async fn a_connection_that_dies_under_a_request_costs_nothing() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    // Every third, and then every one: the whole pool dead at once.
    for every in [3, 1] {
        blue.reuse(Reuse::DropEvery(every));
        calls(&proxy, 8, 60, None).await;
    }
    assert!(proxy.metric("verdigris_replays_total", &["slot=\"blue\""]).await > 50.0, "{}", proxy.metrics().await);
}

/// P5, uvicorn's way: silent close a moment after a 500. Fails when: a connection is pooled again after a 5xx.
#[tokio::test]
async fn one_users_bad_request_does_not_cost_the_next_user_theirs() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    let config = Config::pair(&blue, &green).service(|service| service.keys = "replay = \"never\"".into());
    let proxy = Proxy::ready(&config).await;
    calls(&proxy, 16, 60, Some(3)).await;
}

/// Replay is bounded by its policy. Fails when: a POST is sent twice where the service says `never`, or to a path that is
/// not known to be pure inference.
#[tokio::test]
async fn what_must_not_be_sent_twice_is_not() {
    for (replay, target) in [("never", "/v2/models/iris/infer"), ("inference", "/admin/delete-everything")] {
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        let config = Config::pair(&blue, &green).service(|service| service.keys = format!("replay = \"{replay}\""));
        let proxy = Proxy::ready(&config).await;
        let mut conn = proxy.conn().await;
        let request = crate::support::client::request("POST", target, "", b"{}");
        assert_eq!(conn.call(&request).await.status, 200);
        // The first request left one connection in the pool of the worker that serves this client.
        let query = crate::support::client::request("POST", &format!("{target}?do=close"), "", b"{}");
        let answer = conn.call(&query).await;
        assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_closed")), "{replay}");
        assert_eq!(blue.hits(), 2, "{replay}: sent once each");
    }
}
