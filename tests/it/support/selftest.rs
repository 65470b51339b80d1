//! The tests' own servers and clients, put to each other without a proxy between: what fails here is not the proxy's.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    client::{Conn, get, infer, once, request},
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    load::{Kind, Load},
    origin::{Origin, Ready, Reuse},
    wait::until_true,
    websocket::WebSocket,
};

#[tokio::test]
async fn the_origin_echoes_and_records() {
    let origin = Origin::start("blue").await;
    let mut conn = Conn::open(origin.addr).await;
    let answer = conn.call(&infer("?x=1", b"abc")).await;
    assert_eq!((answer.status, answer.colour().as_str()), (200, "blue"));
    assert_eq!(answer.json()["body_len"], 3);
    assert_eq!(conn.call(&request("HEAD", "/h", "", b"")).await.body, b"");
    let recorded = origin.requests();
    assert_eq!((recorded[0].body.as_slice(), recorded[0].complete), (b"abc".as_slice(), true));
    assert_eq!(recorded[0].connection, recorded[1].connection);
    assert!(recorded[0].head.starts_with(b"POST /v2/models/iris/infer?x=1 HTTP/1.1\r\nHost: iris.test\r\n"));
}

#[tokio::test]
async fn the_origin_is_as_ready_as_it_is_told() {
    let origin = Origin::start("blue").await;
    assert_eq!(once(origin.addr, &get("/v2/health/ready")).await.status, 200);
    origin.readiness(Ready::Status(503));
    assert_eq!(once(origin.addr, &get("/v2/health/ready")).await.status, 503);
    assert_eq!(origin.hits(), 0, "probes are not requests");
}

#[tokio::test]
async fn tokens_come_one_by_one_and_a_cut_is_seen() {
    let origin = Origin::start("blue").await;
    let mut conn = Conn::open(origin.addr).await;
    conn.send(&get("/?do=steps&n=2")).await;
    assert_eq!(conn.head().await.status, 200);
    origin.step();
    assert_eq!(conn.event().await.unwrap(), r#"{"i":0,"colour":"blue"}"#);
    origin.step();
    conn.event().await;
    assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(conn.event().await, None);
    assert!(conn.still_serves().await);

    for query in ["frame=length&how=fin", "frame=chunked&how=fin", "frame=length&how=rst", "frame=chunked&how=rst"] {
        let mut conn = Conn::open(origin.addr).await;
        conn.send(&get(&format!("/?do=die&{query}"))).await;
        let head = conn.head().await;
        origin.step();
        conn.try_rest(head).await.expect_err(query);
    }
}

#[tokio::test]
async fn used_connections_are_dropped_on_request() {
    let origin = Origin::start("blue").await;
    origin.reuse(Reuse::DropEvery(2));
    let mut conn = Conn::open(origin.addr).await;
    assert!(conn.still_serves().await && conn.still_serves().await);
    assert!(!conn.still_serves().await, "the second reuse is dropped");
    origin.reuse(Reuse::CloseIdle(1, 3));
    let mut conn = Conn::open(origin.addr).await;
    assert!(conn.still_serves().await);
    assert!(conn.is_closed().await);
}

#[tokio::test]
async fn trailers_early_answers_and_tunnels() {
    let origin = Origin::start("blue").await;
    let answer = once(origin.addr, &get("/?do=trailers")).await;
    assert_eq!(answer.trailers, [("x-checksum".to_owned(), b"abc".to_vec())]);
    let mut conn = Conn::open(origin.addr).await;
    conn.send(b"POST /?do=early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc").await;
    assert_eq!(conn.answer().await.status, 413);
    let mut socket = WebSocket::open(origin.addr).await;
    socket.echo("hello").await;
}

#[tokio::test]
async fn a_client_that_goes_is_noticed() {
    let origin = Origin::start("blue").await;
    let mut conn = Conn::open(origin.addr).await;
    conn.send(&get("/?do=hang")).await;
    until_true("the request", || origin.hits() == 1).await;
    drop(conn);
    until_true("the client's end", || origin.gone() == 1).await;
}

#[tokio::test]
async fn a_killed_origin_refuses() {
    let origin = Origin::start("blue").await;
    let mut conn = Conn::open(origin.addr).await;
    assert!(conn.still_serves().await);
    origin.kill().await;
    assert!(conn.is_closed().await);
}

#[tokio::test]
async fn grpc_calls_of_every_shape() {
    let origin = GrpcOrigin::start("green").await;
    let channel = Channel::open(origin.addr).await;
    let reply = channel.call("Unary", &["hi"]).await;
    assert_eq!((reply.messages, reply.trailers.is_some()), (vec!["green:hi".to_owned()], true));
    assert_eq!(channel.call("ClientStream", &["a", "b", "c"]).await.messages, ["green:3"]);
    assert_eq!(channel.call("ServerStream", &["3"]).await.messages.len(), 3);
    let reply = channel.call("Fail", &["x"]).await;
    assert_eq!((reply.grpc_status().as_deref(), reply.trailers.is_some()), (Some("5"), false));
    assert_eq!(channel.call("FailLate", &["x"]).await.grpc_status().as_deref(), Some("13"));
    let reset = channel.try_call("Reset", &["x"]).await.unwrap_err();
    assert_eq!(reset.reason(), Some(h2::Reason::INTERNAL_ERROR));
    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert_eq!(call.next().await.as_deref(), Some("green:a"));
    drop(call);
    until_true("the reset to be noticed", || origin.gone() == 1).await;
    assert_eq!(channel.ended(), None);
}

/// Each origin directly under the load: every kind succeeds but for the header that only the proxy adds.
#[tokio::test]
async fn the_load_tells_what_failed() {
    let origin = Origin::start("blue").await;
    origin.shared.recording.store(false, SeqCst);
    let load = Load::start(origin.addr, &[(Kind::Get, 1), (Kind::Post, 1), (Kind::Sse, 1), (Kind::WebSocket, 1)]);
    load.more(8).await;
    let samples = load.finish().await;
    let mixed = |result: &Result<String, String>| {
        result.as_ref().is_err_and(|bad| bad.contains("slot None on an answer of blue"))
    };
    assert!(samples.iter().all(|sample| mixed(&sample.result)), "{samples:#?}");
}
