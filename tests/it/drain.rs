//! P7: things end when they are empty, not when a timer says so; what is cut is cut visibly and counted.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{
    client::{Conn, get},
    config::Config,
    grpc::{Call, Channel},
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true, within},
    websocket::WebSocket,
};

/// A stream of each kind on blue, after a switch to green.
struct Leftovers {
    proxy: Proxy,
    blue: Origin,
    _others: (Origin, GrpcOrigin, GrpcOrigin),
    sse: Conn,
    call: Call,
    channel: Channel,
    socket: WebSocket,
}

async fn leftovers(tables: &str) -> Leftovers {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))
        .service(|service| service.tables = tables.to_owned());
    let proxy = Proxy::ready(&config).await;
    let mut sse = proxy.conn().await;
    sse.send(&get("/?do=steps&n=100")).await;
    sse.head().await;
    blue.step();
    assert!(sse.event().await.is_some());
    let channel = Channel::open(proxy.addr).await;
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:a"));
    let socket = WebSocket::open(proxy.addr).await;
    proxy.switch("green").await;
    Leftovers { proxy, blue, _others: (green, blue_grpc, green_grpc), sse, call, channel, socket }
}

/// Cut streams must look cut: no last chunk, RST_STREAM with an error, a closed tunnel.
async fn assert_cut(left: &mut Leftovers) {
    let end = within("the stream's cut", left.sse.try_event()).await;
    end.expect_err("a stream that was cut must not end cleanly");
    let end = within("the call's cut", left.call.try_finish()).await;
    let error = end.expect_err("a call that was cut must not end with a status of the server");
    assert!(error.is_reset() && error.reason() != Some(h2::Reason::NO_ERROR), "{error:?}");
    assert!(left.socket.conn.is_closed().await);
    assert_eq!(left.channel.call("Unary", &["x"]).await.messages, ["green:x"], "the connection itself lives on");
    until("all three to be counted", || async {
        let drain = left.proxy.admin.drain("iris", "blue").await;
        let done = drain["cut"] == 3 && drain["safe_to_delete"] == true;
        if done { Ok(()) } else { Err(drain) }
    })
    .await;
    assert_eq!(left.proxy.metric("verdigris_leases_cut_total", &["slot=\"blue\""]).await, 3.0);
}

/// Fails when: in `control::effects`, `publish_change` cuts what runs.
#[tokio::test]
async fn a_stream_on_the_old_slot_lives_until_it_ends() {
    let mut left = leftovers("").await;
    for index in 1..100 {
        left.blue.step();
        let event = left.sse.event().await.unwrap();
        assert_eq!(event, format!("{{\"i\":{index},\"colour\":\"blue\"}}"));
    }
    assert_eq!(left.sse.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(left.sse.event().await, None);
    left.call.say("b").await;
    assert_eq!(left.call.next().await.as_deref(), Some("blue:b"));
    left.socket.echo("c").await;
    assert_eq!(left.proxy.admin.drain("iris", "blue").await["cut"], 0);
}

/// Fails when: in `control::entry`, `watch` ignores `cut_after`; in `proxy::body`, a cut ends the body with `None`; in
/// `upstream::lease::tenure`, `add_cut` counts nothing; in `control::controller`, `cut` writes no journal entry.
#[tokio::test]
async fn the_deadline_of_the_file_cuts_visibly() {
    let mut left = leftovers("[service.drain]\ncut_after = \"200ms\"").await;
    assert_cut(&mut left).await;
    assert!(left.proxy.admin.history("iris").await.iter().any(|entry| entry["action"] == "cut"));
}

/// Fails when: in `control::controller`, `cut` does not tell the workers; in `proxy::body`, a cut ends the body with
/// `None`; in `upstream::lease::tenure`, `add_cut` counts nothing; in `proxy::tunnel`, `run` holds no lease.
#[tokio::test]
async fn the_operator_cuts_visibly() {
    let mut left = leftovers("").await;
    let path = "/v1/services/iris/slots/blue/drain";
    let reply = left.proxy.admin.call("POST", path, Some(json!({"cut_after": "0s"}))).await;
    assert!(matches!(reply.status, 200 | 202), "{}", reply.text);
    assert_cut(&mut left).await;
}

/// Many questions and answers later, the call is still not answered.
async fn assert_waits<T>(proxy: &Proxy, call: &JoinHandle<T>) {
    for _ in 0..20 {
        let drain = proxy.admin.drain("iris", "blue").await;
        assert_eq!(drain["safe_to_delete"], false, "{drain}");
    }
    assert!(!call.is_finished(), "answered before the last lease has ended");
}

/// Fails when: in `control::handle`, `drain_status` does not wait, waits its whole time, or says safe when its time is
/// over.
#[tokio::test]
async fn a_wait_ends_with_the_last_lease_or_with_its_time() {
    let Leftovers { proxy, blue, sse, call, socket, _others, channel } = leftovers("").await;
    let began = Instant::now();
    let path = "/v1/services/iris/slots/blue/drain?wait=100ms";
    let reply = proxy.admin.call("GET", path, None).await;
    assert_eq!(reply.json["safe_to_delete"], false, "{}", reply.text);
    assert!(began.elapsed() >= Duration::from_millis(100));
    let admin = proxy.admin;
    // Longer than the test's patience.
    let waiting =
        tokio::spawn(async move { admin.call("GET", "/v1/services/iris/slots/blue/drain?wait=60s", None).await });
    drop((sse, call, channel));
    assert_waits(&proxy, &waiting).await;
    drop(socket);
    let reply = within("the wait", waiting).await.unwrap();
    assert_eq!((reply.status, &reply.json["safe_to_delete"]), (200, &json!(true)), "{}", reply.text);
    drop(blue);
}

/// Fails when: in `control::handle`, `after_change` does not wait, or `drain_status` waits its whole time or says safe
/// when it is over.
#[tokio::test]
async fn a_switch_can_wait_for_the_drain() {
    let Leftovers { proxy, blue, sse, call, socket, _others, channel } = leftovers("").await;
    proxy.admin.switch("iris", json!({"to": "blue"})).await;
    let began = Instant::now();
    let late = proxy.admin.try_switch("iris", json!({"to": "green", "wait": "drained", "timeout": "100ms"})).await;
    assert_eq!((late.status, &late.json["outcome"]), (202, &json!("switched")), "{}", late.text);
    assert_eq!(late.json["drain"]["safe_to_delete"], false, "{}", late.text);
    assert!(began.elapsed() >= Duration::from_millis(100));
    proxy.admin.switch("iris", json!({"to": "blue"})).await;
    let admin = proxy.admin;
    let body = json!({"to": "green", "wait": "drained", "timeout": "60s"});
    let waiting = tokio::spawn(async move { admin.switch("iris", body).await });
    until("the switch", || async {
        let active = proxy.admin.active("iris").await;
        if active == "green" { Ok(()) } else { Err(active) }
    })
    .await;
    assert_waits(&proxy, &waiting).await;
    drop((sse, call, channel, socket));
    let done = within("the wait", waiting).await.unwrap();
    assert_eq!(done["drain"]["safe_to_delete"], true, "{done}");
    drop(blue);
}

/// A cut that waited for the client to read on would never end for a stalled one. Fails when: in
/// `upstream::lease::ledger`, `tick` does not end the tasks of what was cut before.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_too() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let mut stalled = proxy.conn().await;
    stalled.send(&get("/?do=big&bytes=200000000")).await;
    let channel = Channel::open(proxy.addr).await;
    let request = http::Request::get(channel.uri("/?do=big&bytes=200000000")).body(()).unwrap();
    let (response, _send) = channel.request(request, true).await.unwrap();
    let answer = within("the head", response).await.unwrap();
    until_true("both answers to be on their way", || blue.hits() == 2).await;
    proxy.switch("green").await;
    let path = "/v1/services/iris/slots/blue/drain";
    let reply = proxy.admin.call("POST", path, Some(json!({"cut_after": "0s"}))).await;
    assert!(matches!(reply.status, 200 | 202), "{}", reply.text);
    proxy.admin.until_safe_to_delete("iris", "blue").await;
    assert_eq!(proxy.admin.drain("iris", "blue").await["cut"], 2);
    let end = within("the cut", async { stalled.try_answer("GET").await.map(|whole| whole.body.len()) }).await;
    assert!(end.is_err(), "{end:?}");
    drop(answer);
}
