//! Clients that stall: `limits.body_timeout` for those that send nothing, `limits.send_timeout` for those that take
//! nothing. What flows is never cut.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    client::{Conn, get, request},
    config::Config,
    grpc::{Channel, text},
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true, within},
};

async fn pair(limits: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green).tables(&format!("[proxy.limits]\n{limits}"))).await;
    (blue, green, proxy)
}

/// So many failures of this kind, none of the server's, and no lease left.
async fn blamed(proxy: &Proxy, kind: &str, count: f64) {
    let failures = "verdigris_request_failures_total";
    until(&format!("{count} {kind}"), || async {
        let seen = proxy.metric(failures, &[&format!("kind=\"{kind}\"")]).await;
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
    assert_eq!(proxy.metric(failures, &["kind=\"upstream"]).await, 0.0, "a client's fault is not the server's");
    until("the leases' end", || async {
        let drain = proxy.admin.drain("iris", "blue").await;
        if drain["in_flight"]["total"] == 0 { Ok(()) } else { Err(drain) }
    })
    .await;
}

/// Fails when: a client that stops in the middle of its request keeps a place at the server for ever, or the server gets
/// the half of it for a whole.
#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let (blue, _green, proxy) = pair("body_timeout = \"300ms\"").await;
    for (index, start) in [
        "content-length: 10\r\n\r\nhalf",
        "content-length: 10\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut conn = proxy.conn().await;
        conn.send(format!("POST /infer HTTP/1.1\r\nhost: iris.test\r\n{start}").as_bytes()).await;
        let answer = conn.answer().await;
        assert_eq!((answer.status, answer.error().as_deref()), (408, Some("body_timeout")), "{start:?}");
        assert_eq!(answer.field("connection").as_deref(), Some("close"));
        assert!(conn.is_closed().await);
        let sent = blue.requests();
        assert_eq!(sent.len(), index + 1, "it is not sent again");
        until_true("the upstream connection's end", || blue.has_ended(sent[index].connection)).await;
        assert!(!blue.requests()[index].complete);
    }
    let channel = Channel::open(proxy.addr).await;
    let (response, mut body) = channel.request(Request::post(channel.uri("/")).body(()).unwrap(), false).await.unwrap();
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    let response = within("an answer", response).await.unwrap();
    assert_eq!(
        (response.status(), text(response.headers(), "x-verdigris-error").as_deref()),
        (http::StatusCode::REQUEST_TIMEOUT, Some("body_timeout"))
    );
    let (response, _) = channel.request(Request::get(channel.uri("/")).body(()).unwrap(), true).await.unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200, "one stream's stall is its own");
    blamed(&proxy, "body_timeout", 5.0).await;
}

/// Fails when: the time runs for the whole body and not for its next byte.
#[tokio::test]
async fn a_trickle_is_not_a_stall() {
    let (_blue, _green, proxy) = pair("body_timeout = \"600ms\"").await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST / HTTP/1.1\r\nhost: iris.test\r\ncontent-length: 20\r\n\r\n").await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        conn.send(b"x").await;
    }
    assert_eq!(conn.answer().await.json()["body_len"], 20);
}

/// Fails when: a server that does not read makes the client look slow.
#[tokio::test]
async fn a_server_that_does_not_read_is_not_the_clients_stall() {
    let (blue, _green, proxy) = pair("body_timeout = \"200ms\"").await;
    let (mut reader, mut writer) = proxy.conn().await.wire.stream.into_split();
    let upload = tokio::spawn(async move {
        let head = b"POST /?do=deaf HTTP/1.1\r\nhost: iris.test\r\ncontent-length: 100000000\r\n\r\n";
        writer.write_all(head).await.unwrap();
        let block = vec![b'x'; 1 << 16];
        while writer.write_all(&block).await.is_ok() {}
    });
    until_true("the request at the server", || blue.hits() == 1).await;
    let mut byte = [0];
    let answer = reader.read(&mut byte);
    let answer = tokio::time::timeout(Duration::from_millis(1200), answer).await;
    assert!(answer.is_err(), "the client was answered, though its bytes were there: {answer:?}");
    upload.abort();
}

/// Fails when: a gRPC client that has nothing to say is taken for one that stalls.
#[tokio::test]
async fn a_conversation_may_pause() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))
        .tables("[proxy.limits]\nbody_timeout = \"200ms\"\nsend_timeout = \"200ms\"");
    let proxy = Proxy::ready(&config).await;
    let channel = Channel::open(proxy.addr).await;
    let mut late = channel.start("ClientStream").await;
    let mut call = channel.start("Bidi").await;
    for round in ["a", "b"] {
        call.say(round).await;
        assert_eq!(call.next().await, Some(format!("blue:{round}")));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    call.half_close();
    assert_eq!(call.finish().await.grpc_status().as_deref(), Some("0"));
    late.say("at last").await;
    late.half_close();
    assert_eq!(late.finish().await.messages, ["blue:1"]);
}

/// Fails when: a client that takes nothing keeps a place at the server for ever, or is told that it has the whole.
#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let (blue, _green, proxy) = pair("send_timeout = \"400ms\"").await;
    let mut conn = proxy.conn().await;
    conn.send(&get("/?do=big&bytes=200000000")).await;
    blamed(&proxy, "client_stalled", 1.0).await;
    let end = within("the end", conn.try_answer("GET")).await;
    assert!(end.is_err(), "cut, and visibly so");
    assert!(blue.shared.written.load(std::sync::atomic::Ordering::SeqCst) < 200_000_000);
}

/// Fails when: an HTTP/2 connection whose client does not read is kept for ever.
#[tokio::test]
async fn an_http2_connection_that_nobody_reads_is_let_go() {
    let (_blue, _green, proxy) = pair("send_timeout = \"400ms\"").await;
    let mut conn = proxy.conn().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // SETTINGS with the largest stream window, WINDOW_UPDATE with the largest connection window.
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
    let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xfe, 0xff, 0xff];
    let path = b"/?do=big&bytes=200000000";
    let mut block = vec![0x82, 0x86, 0x41, 9];
    block.extend_from_slice(b"iris.test");
    block.extend_from_slice(&[0x04, u8::try_from(path.len()).unwrap()]);
    block.extend_from_slice(path);
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    conn.send(&[preface.as_slice(), &settings, &window, &head, &block].concat()).await;
    blamed(&proxy, "client_stalled", 1.0).await;
}

/// Fails when: a stream whose client never opens its window is kept for ever, or takes its connection along.
#[tokio::test]
async fn a_stream_that_nobody_takes_is_let_go() {
    let (_blue, _green, proxy) = pair("send_timeout = \"400ms\"").await;
    let channel = Channel::open(proxy.addr).await;
    let big = Request::get(channel.uri("/?do=big&bytes=2000000")).body(()).unwrap();
    let (response, _send) = channel.request(big, true).await.unwrap();
    let mut body = within("an answer", response).await.unwrap().into_body();
    blamed(&proxy, "client_stalled", 1.0).await;
    let end = within("the stream's end", async {
        loop {
            match body.data().await {
                Some(Ok(_kept)) => {}
                other => return other.map(|end| end.map(drop)),
            }
        }
    })
    .await;
    assert!(end.is_some_and(|end| end.is_err()), "reset, and not ended");
    let (response, _) = channel.request(Request::get(channel.uri("/")).body(()).unwrap(), true).await.unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200);
}

/// Fails when: a slow reader is taken for one that does not read; the kernel does not tell of every byte it takes.
#[tokio::test]
async fn a_slow_reader_is_served_on() {
    let (_blue, _green, proxy) = pair("send_timeout = \"2s\"").await;
    let mut conn = proxy.conn().await;
    conn.send(&get("/?do=big&bytes=200000000")).await;
    assert_eq!(conn.head().await.status, 200);
    let mut part = [0; 20_000];
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let read = within("the next part", conn.wire.stream.read(&mut part)).await;
        assert!(read.is_ok_and(|bytes| bytes > 0));
    }
    assert_eq!(proxy.metric("verdigris_request_failures_total", &["kind=\"client"]).await, 0.0);
}

/// Fails when: a stream with pauses on the server's side is taken for one that nobody reads.
#[tokio::test]
async fn a_stream_that_pauses_is_not_a_stall() {
    let (blue, _green, proxy) = pair("send_timeout = \"200ms\"\nbody_timeout = \"200ms\"").await;
    let mut conn = Conn::open(proxy.addr).await;
    conn.send(&request("POST", "/?do=steps&n=2", "", b"x")).await;
    blue.step();
    conn.head().await;
    assert!(conn.event().await.is_some());
    tokio::time::sleep(Duration::from_millis(700)).await;
    blue.step();
    assert!(conn.event().await.is_some());
    assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(conn.event().await, None);
}
