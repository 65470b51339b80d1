//! Clients that close their sending side, and clients that go: RFC 9112 section 9.6.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::{Bench, post};
use crate::support::{
    client::get,
    wait::{until_true, within},
    wire::find,
};

/// Fails when: a client that sends FIN after its request is not answered.
#[tokio::test]
async fn a_half_closed_client_is_answered() {
    let bench = Bench::new("").await;
    let chunked = post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    let requests: [Vec<u8>; 7] = [
        get("/"),
        get("/?ms=100"),
        get("/?ms=900"),
        b"GET /?ms=100 HTTP/1.0\r\nHost: iris.test\r\n\r\n".to_vec(),
        post("Content-Length: 3\r\n", "abc").into_bytes(),
        chunked.into_bytes(),
        get("/?do=big&bytes=4000000"),
    ];
    for request in requests {
        let what = String::from_utf8_lossy(&request).into_owned();
        let mut conn = bench.proxy.conn().await;
        conn.send(&request).await;
        conn.wire.stream.shutdown().await.unwrap();
        assert_eq!(conn.answer().await.status, 200, "{what}");
        assert!(conn.is_closed().await, "{what}");
    }
    let mut conn = bench.proxy.conn().await;
    conn.send(&[get("/?ms=50"), get("/second")].concat()).await;
    conn.wire.stream.shutdown().await.unwrap();
    assert_eq!(conn.answer().await.status, 200);
    assert_eq!(conn.answer().await.json()["target"], "/second", "pipelined requests are answered too");
    let mut conn = bench.proxy.conn().await;
    conn.send(&get("/?do=sse&n=20&every=20")).await;
    conn.wire.stream.shutdown().await.unwrap();
    assert!(conn.answer().await.text().contains("[DONE]"), "and streams that flow");
}

/// Fails when: a model goes on working for a client that has gone.
#[tokio::test]
async fn a_client_that_went_ends_the_work() {
    let bench = Bench::new("").await;
    let targets = ["/?do=hang", "/?do=steps&n=5", "/?do=sse&n=1000&every=10"];
    for (index, target) in targets.into_iter().enumerate() {
        for reset in [false, true] {
            let gone = bench.blue.gone();
            let mut conn = bench.proxy.conn().await;
            let hits = bench.blue.hits();
            conn.send(&get(target)).await;
            until_true("the request", || bench.blue.hits() > hits).await;
            if index > 0 {
                conn.head().await;
            }
            if reset {
                conn.wire.reset();
            } else {
                drop(conn);
            }
            let left = Instant::now();
            until_true("the server to notice", || bench.blue.gone() > gone).await;
            assert!(left.elapsed() < Duration::from_secs(2), "{target}, reset: {reset}: {:?}", left.elapsed());
        }
    }
    let page = bench.proxy.metrics().await;
    assert!(page.contains("kind=\"client_gone\""), "{page}");
    assert_eq!(bench.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await, 0.0);
}

/// Fails when: half a request is taken for a whole one because its client sent FIN.
#[tokio::test]
async fn half_a_request_is_none() {
    let bench = Bench::new("").await;
    for half in [
        "GET / HTTP/1.1\r\nHost: iris.test\r\n".to_owned(),
        post("Content-Length: 9\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
    ] {
        let mut conn = bench.proxy.conn().await;
        conn.send(half.as_bytes()).await;
        conn.wire.stream.shutdown().await.unwrap();
        let answer = within("the end", conn.try_answer("GET")).await;
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 400), "{half:?}: {answer:?}");
    }
    assert!(bench.blue.requests().iter().all(|sent| !sent.complete));
}

/// Fails when: an answer that broke off seems whole to a client of HTTP/1.0, for whom the close is the end; or such a
/// client is told that the connection stays.
#[tokio::test]
async fn a_cut_is_seen_in_http_1_0() {
    let bench = Bench::new("").await;
    for (body, cut) in [("5\r\nhello\r\n", true), ("5\r\nhello\r\n0\r\n\r\n", false)] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut conn = bench.proxy.conn().await;
        let request =
            format!("GET /?do=raw&then=close&hex={hex} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        conn.send(request.as_bytes()).await;
        let end = within("the end", async {
            let head = conn.wire.head().await?.unwrap_or_default();
            assert!(find(&head, b"keep-alive").is_none(), "{head:?}");
            while conn.wire.fill().await? > 0 {}
            Ok::<_, std::io::Error>(())
        });
        assert_eq!(end.await.is_err(), cut, "{body:?}");
    }
}
