//! Bodies are passed on as they come, both ways, no faster than they are taken, and end when their sender ends them.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use http::Request;
use tokio::io::AsyncWriteExt;

use crate::support::{
    client::{get, infer, request},
    config::Config,
    grpc::Channel,
    origin::Origin,
    proxy::Proxy,
    wait::{until_true, within},
    wire::value,
};

async fn pair() -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    (blue, green, proxy)
}

/// Fails when: tokens are gathered before they are passed on.
#[tokio::test]
async fn a_token_arrives_before_the_next_is_produced() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(&infer("?do=steps&n=20", b"{}")).await;
    assert_eq!(conn.head().await.status, 200, "the head comes before the first token");
    for index in 0..20 {
        blue.step();
        assert_eq!(conn.event().await.unwrap(), format!("{{\"i\":{index},\"colour\":\"blue\"}}"));
    }
    assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(conn.event().await, None);
    assert!(conn.still_serves().await);
}

/// The same for an HTTP/2 client. Fails when: the translation gathers tokens.
#[tokio::test]
async fn a_token_arrives_at_once_over_http2() {
    let (blue, _green, proxy) = pair().await;
    let channel = Channel::open(proxy.addr).await;
    let request = Request::get(channel.uri("/?do=steps&n=3")).body(()).unwrap();
    let (response, _send) = channel.request(request, true).await.unwrap();
    let mut body = within("the head", response).await.unwrap().into_body();
    for index in 0..3 {
        blue.step();
        let data = within("a token", body.data()).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&data).contains(&format!("\"i\":{index}")), "{data:?}");
    }
}

/// Fails when: trailers are dropped in either direction.
#[tokio::test]
async fn trailers_pass_both_ways() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(b"GET /?do=trailers HTTP/1.1\r\nhost: iris.test\r\nte: trailers\r\nconnection: te\r\n\r\n").await;
    let answer = conn.answer().await;
    assert_eq!((answer.text().as_str(), value(&answer.trailers, "x-checksum").as_deref()), ("hello", Some("abc")));
    let upload = b"POST /up HTTP/1.1\r\nhost: iris.test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                   3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n";
    assert_eq!(conn.call(upload).await.status, 200);
    let recorded = blue.requests().pop().unwrap();
    assert_eq!(
        (recorded.body.as_slice(), value(&recorded.trailers, "x-sum").as_deref()),
        (b"abc".as_slice(), Some("42"))
    );
}

/// Fails when: a client's hang-up is not passed on before the next byte would be written.
#[tokio::test]
async fn a_client_that_goes_ends_the_work_upstream_at_once() {
    let (blue, _green, proxy) = pair().await;
    for (index, query) in ["?do=steps&n=5", "?do=hang"].into_iter().enumerate() {
        let mut conn = proxy.conn().await;
        conn.send(&infer(query, b"{}")).await;
        until_true("the request", || blue.hits() == index as u64 + 1).await;
        drop(conn);
        let left = Instant::now();
        until_true("the server to notice", || blue.gone() == index as u64 + 1).await;
        assert!(left.elapsed() < Duration::from_secs(1), "{query}: {:?}", left.elapsed());
    }
}

/// Fails when: a slow client's answer is gathered in memory.
#[tokio::test]
async fn a_client_that_does_not_read_slows_the_server() {
    const OFFERED: u64 = 512 << 20;
    let (blue, _green, proxy) = pair().await;
    let mut slow = proxy.conn().await;
    slow.send(&get(&format!("/?do=big&bytes={OFFERED}"))).await;
    let taken = settled(|| blue.shared.written.load(SeqCst)).await;
    // Socket buffers grow to a few MiB each on four ends; what the proxy itself holds is far less.
    assert!(taken < 48 << 20, "{taken} bytes were taken for a client that reads none");
    assert_eq!(proxy.once(&get("/")).await.status, 200, "and its neighbours are served");
}

/// Fails when: an upload is gathered in memory for a server that does not read.
#[tokio::test]
async fn a_server_that_does_not_read_slows_the_client() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST /?do=deaf HTTP/1.1\r\nhost: iris.test\r\ncontent-length: 536870912\r\n\r\n").await;
    let block = vec![b'u'; 64 * 1024];
    let mut sent = 0_u64;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(500), conn.wire.stream.write(&block)).await {
        sent += result.unwrap() as u64;
        assert!(sent < 48 << 20, "{sent} bytes were taken for a server that reads none");
    }
}

/// The number, once it has not changed for a while.
async fn settled(number: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (number(), Instant::now());
    until_true("the number to settle", || {
        let now = number();
        if now != last || now == 0 {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(400)
    })
    .await;
    last
}

/// Fails when: an upload waits for its end before it is passed on.
#[tokio::test]
async fn an_upload_is_passed_on_as_it_comes() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST /up HTTP/1.1\r\nhost: iris.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    until_true("the first part", || blue.requests().first().is_some_and(|request| request.body == b"first")).await;
    conn.send(b"6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(conn.answer().await.json()["body_len"], 11);
}

/// Fails when: a broken upload looks complete to the server.
#[tokio::test]
async fn an_upload_that_breaks_off_is_cut_upstream_too() {
    let (blue, _green, proxy) = pair().await;
    for framing in ["transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n", "content-length: 100\r\n\r\nfirst"] {
        let seen = blue.requests().len();
        let mut conn = proxy.conn().await;
        conn.send(format!("POST /up HTTP/1.1\r\nhost: iris.test\r\n{framing}").as_bytes()).await;
        until_true("the first part", || blue.requests().get(seen).is_some_and(|request| request.body == b"first"))
            .await;
        drop(conn);
    }
    assert_eq!(proxy.once(&get("/")).await.status, 200);
    let complete: Vec<_> = blue.requests().iter().map(|request| request.complete).collect();
    assert_eq!(complete, [false, false, true]);
}

/// Fails when: the broken write hides the answer that the server gave meanwhile.
#[tokio::test]
async fn an_early_answer_is_passed_on_while_the_body_is_still_on_its_way() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST /?do=early&code=413 HTTP/1.1\r\nhost: iris.test\r\ncontent-length: 10000000\r\n\r\n").await;
    conn.send(&vec![b'x'; 100_000]).await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.text().as_str(), answer.error()), (413, "too large", None));
    // The rest may be refused by a close, but must never be taken for another request.
    let mut again = proxy.conn().await;
    assert_eq!(again.call(&get("/")).await.status, 200);
}

/// Fails when: the proxy promises what the server has not: 100 comes from the server's reading of the body.
#[tokio::test]
async fn expect_continue_works_end_to_end() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(b"POST /up HTTP/1.1\r\nhost: iris.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    let interim = within("an interim answer", conn.wire.head()).await.unwrap().unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{interim:?}");
    conn.send(b"abc").await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, &answer.json()["body_len"]), (200, &serde_json::json!(3)));
    assert_eq!(blue.only_request().body, b"abc");
}

/// Fails when: a body is invented for an answer that has none, or pipelined answers change places.
#[tokio::test]
async fn answers_without_a_body_and_pipelined_ones_keep_the_connection_in_step() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let head = conn.call(&request("HEAD", "/h", "", b"")).await;
    assert!(head.body.is_empty() && head.field("content-length").is_some_and(|length| length != "0"), "{head:?}");
    assert_eq!(conn.call(&get("/?code=204")).await.status, 204);
    assert_eq!(conn.call(&get("/?code=304")).await.status, 304);
    conn.send(&[get("/one"), infer("?two", b"abc"), get("/three")].concat()).await;
    for target in ["/one", "/v2/models/iris/infer?two", "/three"] {
        assert_eq!(conn.answer().await.json()["target"], target);
    }
}
