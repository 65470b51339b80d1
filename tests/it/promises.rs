//! The promises P1 to P4, each on its own; `reused.rs` has P5, and `under_load.rs` all of them at once under load.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::support::{
    client::{Conn, get, infer},
    config::Config,
    grpc::{Call, Channel},
    grpc_origin::GrpcOrigin,
    origin::{Origin, Ready},
    proxy::Proxy,
    wait::{until_true, within},
    websocket::WebSocket,
};

/// P1 and P2. Fails when: in `control::effects`, `carry_out` answers before it publishes; in `proxy::handler`, a
/// connection's first slot serves all its requests; in `proxy::view`, `current` does not look for a newer table while
/// `upstream::lease::count` gives leases of a retired one; in `proxy::handler`, answers say `Connection: close` after a
/// switch; in `proxy::worker`, `obey` lets `CloseIdle` announce or finish client connections.
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

/// P1 and P2 over HTTP/2, with the pair of addresses. Fails when: in `proxy::worker`, `obey` lets `CloseIdle` send
/// clients a GOAWAY; in `control::effects`, `carry_out` answers and saves before it publishes.
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

/// P2 at a reload, of services and of limits. Fails when: in `control::reload`, `apply` ends client connections, tells
/// HTTP/2 ones to go (GOAWAY) or cuts what runs; in `proxy::worker`, `run` finishes the patrol when new limits come.
#[tokio::test]
async fn a_reload_closes_no_connection() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc));
    let proxy = Proxy::ready(&config).await;
    let (mut conn, channel) = (proxy.conn().await, Channel::open(proxy.addr).await);
    let mut socket = WebSocket::open(proxy.addr).await;
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:a"));
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    let config = config.service(|service| service.active = "green".into());
    let config = config.tables("[proxy.limits]\nidle_timeout = \"74s\"");
    std::fs::write(proxy.config_path(), config.text()).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = conn.call(&get("/")).await;
    assert_eq!((answer.colour().as_str(), answer.field("connection")), ("green", None));
    socket.echo("still here").await;
    call.say("b").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:b"));
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["green:x"]);
    assert_eq!(channel.ended(), None);
}

/// P3. Fails when: in `checks::readiness`, `readiness` says passed always; in `upstream::health::probe`, `ask_http`
/// takes any 2xx or 4xx for ready; in `switch::machine`, a refusal raises the generation; in `control::effects`,
/// `write_journal` leaves out `forced`, the reason or the gate's report.
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

/// P3 for a slot whose server is not there at all. Fails when: in `upstream::health::probe`, `ask_http` takes a
/// connection that was refused for ready.
#[tokio::test]
async fn a_slot_whose_server_is_gone_is_refused() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    green.kill().await;
    assert_eq!(proxy.admin.try_switch("iris", json!({"to": "green"})).await.status, 409);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// P3 for the pair: HTTP ready and gRPC not. Fails when: in `upstream::health::probe`, `ask` leaves out the gRPC
/// address.
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

/// P4. Fails when: in `proxy::body`, the lease ends at the head of an answer; in `proxy::tunnel`, `run` drops what it
/// holds at its start; in `control::overview`, `drain` forgets that the slot is active, or `SlotView::new` the tenures
/// before this one.
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

/// What holds a slot, alone.
enum Holder {
    Request(Conn),
    Events(Conn),
    Call(Channel, Call),
    Tunnel(WebSocket),
}

impl Holder {
    /// Under way on blue when this returns.
    async fn begin(kind: &str, proxy: &Proxy, blue: &Origin) -> Self {
        let hits = blue.hits();
        match kind {
            "request" | "events" => {
                let mut conn = proxy.conn().await;
                let target = if kind == "request" { "/?do=held" } else { "/?do=steps&n=1" };
                conn.send(&get(target)).await;
                until_true("the request to reach blue", || blue.hits() > hits).await;
                if kind == "request" {
                    return Holder::Request(conn);
                }
                conn.head().await;
                Holder::Events(conn)
            }
            "call" => {
                let channel = Channel::open(proxy.addr).await;
                let mut call = channel.start("Bidi").await;
                call.say("a").await;
                assert_eq!(call.next().await.as_deref(), Some("blue:a"));
                Holder::Call(channel, call)
            }
            _ => Holder::Tunnel(WebSocket::open(proxy.addr).await),
        }
    }

    /// Comes to its own end.
    async fn end(self, blue: &Origin) {
        match self {
            Holder::Request(mut conn) => {
                blue.step();
                assert_eq!(conn.answer().await.colour(), "blue");
            }
            Holder::Events(mut conn) => {
                blue.step();
                assert!(conn.event().await.is_some());
                assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
                assert_eq!(conn.event().await, None);
            }
            Holder::Call(_channel, mut call) => {
                call.half_close();
                assert_eq!(call.finish().await.grpc_status().as_deref(), Some("0"));
            }
            Holder::Tunnel(mut socket) => socket.echo("last words").await,
        }
    }
}

/// P4, each kind of lease alone and on each worker. Fails when: in `upstream::lease::count`, `is_drained` looks at the
/// first shard only, or at the last; or does not count streams, tunnels or unary leases.
#[tokio::test]
async fn one_lease_of_any_kind_on_any_worker_holds_the_slot() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc));
    for (what, kind) in [("request", "unary"), ("events", "stream"), ("call", "stream"), ("tunnel", "tunnel")] {
        for others in 0..2 {
            let proxy = Proxy::ready(&config).await;
            // A client is placed on the worker that has the fewest, when it asks.
            let mut idle = Vec::new();
            for _ in 0..others {
                idle.push(proxy.conn().await);
                idle[0].call(&get("/")).await;
            }
            let holder = Holder::begin(what, &proxy, &blue).await;
            proxy.switch("green").await;
            let drain = proxy.admin.drain("iris", "blue").await;
            assert_eq!(
                (&drain["safe_to_delete"], &drain["in_flight"]["total"], &drain["in_flight"][kind]),
                (&json!(false), &json!(1), &json!(1)),
                "{what} after {others}: {drain}"
            );
            holder.end(&blue).await;
            proxy.admin.until_safe_to_delete("iris", "blue").await;
        }
    }
}

/// P4 when a client goes away in the middle. Fails when: in `proxy::body`, a relay that is dropped before its end keeps
/// its lease.
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
