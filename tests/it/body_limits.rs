//! `request.body_max`: a longer request body gets 413, and never counts against the server.

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::support::{
    client::{Conn, get, request},
    config::{Config, Service},
    grpc::{Channel, text},
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    wait::{until_true, within},
    wire::find,
};

struct Set {
    blue: Origin,
    grpc: GrpcOrigin,
    proxy: Proxy,
    _green: Origin,
}

async fn set(body_max: &str) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let grpc = GrpcOrigin::start("blue").await;
    let mut service = Service::new("iris", "", &green.url());
    service.blue = format!("{{ http = \"{}\", grpc = \"{}\" }}", blue.url(), grpc.url());
    service.tables = format!("[service.request]\nbody_max = {body_max}");
    let proxy = Proxy::ready(&Config::new(vec![service])).await;
    Set { blue, grpc, proxy, _green: green }
}

/// The server is blamed for nothing, and the client for so many.
async fn blamed(proxy: &Proxy, kind: &str, count: f64) {
    let failures = "verdigris_request_failures_total";
    crate::support::wait::until(&format!("{count} {kind}"), || async {
        let seen = proxy.metric(failures, &[&format!("kind=\"{kind}\"")]).await;
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
    assert_eq!(proxy.metric(failures, &["kind=\"upstream"]).await, 0.0, "a client's mistake is not the server's");
}

/// Fails when: a body whose length is told reaches the server, the limit is off by one, or the connection goes on.
#[tokio::test]
async fn a_length_that_is_told_is_checked_first() {
    let Set { blue, proxy, grpc: _grpc, _green } = set("\"1 KiB\"").await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&request("POST", "/", "", &[b'x'; 1024])).await.json()["body_len"], 1024);
    assert_eq!(conn.call(&get("/")).await.status, 200);
    let smuggled = b"GET /smuggled HTTP/1.1\r\nhost: iris.test\r\n\r\n";
    let mut long = request("POST", "/long", "", &[b'x'; 1025]);
    long.extend_from_slice(smuggled);
    let answer = conn.call(&long).await;
    assert_eq!((answer.status, answer.error().as_deref()), (413, Some("body_too_large")));
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    assert!(conn.is_closed().await);
    assert_eq!(blue.hits(), 2);
    blamed(&proxy, "body_too_large", 1.0).await;
}

/// Fails when: a client that asks first is told to go on, or is not answered until it has sent all.
#[tokio::test]
async fn who_asks_first_is_refused_first() {
    let Set { blue, proxy, grpc: _grpc, _green } = set("3").await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST / HTTP/1.1\r\nhost: iris.test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
    let first = within("an answer", conn.wire.head()).await.unwrap().unwrap();
    assert!(first.starts_with(b"HTTP/1.1 413 "), "{first:?}");
    let mut conn = proxy.conn().await;
    conn.send(b"POST / HTTP/1.1\r\nhost: iris.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    let first = within("an answer", conn.wire.head()).await.unwrap().unwrap();
    assert!(first.starts_with(b"HTTP/1.1 100 "), "{first:?}");
    conn.send(b"abc").await;
    assert_eq!(conn.answer().await.json()["body_len"], 3);
    assert_eq!(blue.hits(), 1);
}

/// Fails when: a body whose length was not told may be as long as it likes, or what was sent of it ends cleanly.
#[tokio::test]
async fn a_length_that_is_not_told_is_counted() {
    let Set { blue, proxy, grpc: _grpc, _green } = set("1000").await;
    let head = b"POST /infer HTTP/1.1\r\nhost: iris.test\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"fa\r\n", [b'x'; 250].as_slice(), b"\r\n"].concat();
    let mut conn = proxy.conn().await;
    conn.send(&[head.as_slice(), &chunk, &chunk, &chunk, &chunk, b"0\r\n\r\n"].concat()).await;
    assert_eq!(conn.answer().await.json()["body_len"], 1000);
    conn.send(&[head.as_slice(), &chunk, &chunk, &chunk].concat()).await;
    until_true("the body's first part", || blue.requests().get(1).is_some_and(|sent| sent.body.len() == 750)).await;
    conn.send(&[chunk.as_slice(), b"1\r\nx\r\n"].concat()).await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.error().as_deref()), (413, Some("body_too_large")));
    assert!(conn.is_closed().await);
    let sent = &blue.requests()[1];
    until_true("the upstream connection's end", || blue.has_ended(sent.connection)).await;
    let sent = &blue.requests()[1];
    assert!(!sent.complete && sent.body.len() <= 1000, "{} bytes, complete: {}", sent.body.len(), sent.complete);
    assert_eq!(blue.hits(), 2, "and it is not sent again");
    blamed(&proxy, "body_too_large", 1.0).await;
}

/// Fails when: HTTP/2 has another limit, or one stream's mistake is the connection's.
#[tokio::test]
async fn streams_have_the_same_limit() {
    let Set { blue, proxy, grpc: _grpc, _green } = set("1000").await;
    let channel = Channel::open(proxy.addr).await;
    for told in [true, false] {
        let mut post = Request::post(channel.uri("/"));
        if told {
            post = post.header("content-length", "1001");
        }
        let (response, mut body) = channel.request(post.body(()).unwrap(), false).await.unwrap();
        // The refusal may come first; the stream is closed then.
        body.send_data(Bytes::from_static(&[b'x'; 1001]), true).ok();
        let response = within("an answer", response).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "told: {told}");
        assert_eq!(text(response.headers(), "x-verdigris-error").as_deref(), Some("body_too_large"));
    }
    let (response, mut body) = channel.request(Request::post(channel.uri("/")).body(()).unwrap(), false).await.unwrap();
    body.send_data(Bytes::from_static(&[b'x'; 1000]), true).unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    assert!(blue.requests().iter().all(|sent| sent.complete == (sent.body.len() == 1000)), "{:?}", blue.requests());
    blamed(&proxy, "body_too_large", 2.0).await;
}

/// Fails when: a gRPC client is told by a bare HTTP status, or a conversation passes for complete.
#[tokio::test]
async fn grpc_calls_are_told_in_grpc() {
    let Set { grpc, proxy, blue: _blue, _green } = set("100").await;
    let channel = Channel::open(proxy.addr).await;
    let long = "x".repeat(200);
    let reply = channel.call("ClientStream", &["a", &long]).await;
    assert_eq!((reply.http_status, reply.grpc_status().as_deref()), (200, Some("8")), "{reply:?}");
    assert_eq!(reply.header("x-verdigris-error").as_deref(), Some("body_too_large"));
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["blue:x"]);

    let mut call = channel.start("Bidi").await;
    call.say("a").await;
    assert_eq!(call.next().await.as_deref(), Some("blue:a"));
    call.say(&long).await;
    let end = within("the call's end", call.try_finish()).await;
    assert!(end.is_err(), "an answer that has begun is cut: {end:?}");
    until_true("the server to see it", || grpc.gone() >= 1).await;
    blamed(&proxy, "body_too_large", 2.0).await;
}

/// Fails when: bodies are limited where the file says nothing.
#[tokio::test]
async fn without_a_limit_there_is_none() {
    let Set { proxy, blue: _blue, grpc: _grpc, _green } = set("\"off\"").await;
    let mut conn = Conn::open(proxy.addr).await;
    let answer = conn.call(&request("POST", "/", "", &vec![b'x'; 5_000_000])).await;
    assert_eq!(answer.json()["body_len"], 5_000_000);
    assert!(find(&answer.body, b"blue").is_some());
}
