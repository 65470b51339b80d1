//! `Expect: 100-continue` from end to end: RFC 9110 section 10.1.1.

use std::time::{Duration, Instant};

use super::Bench;
use crate::support::{client::Conn, wait::within, wire::value};

const WAITS: &str = "Host: iris.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

/// The status of the next head, interim or not.
async fn next_status(conn: &mut Conn) -> u16 {
    let head = within("a head", conn.wire.head()).await.unwrap().expect("closed");
    String::from_utf8_lossy(&head[9..12]).parse().unwrap()
}

fn raw(target: &str, answer: &str) -> String {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("POST {target}&hex={hex} HTTP/1.1\r\n{WAITS}")
}

/// Fails when: the proxy asks for the body before the server does, or keeps the expectation to itself.
#[tokio::test]
async fn the_server_asks_for_the_body() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    conn.send(format!("POST /up HTTP/1.1\r\n{WAITS}").as_bytes()).await;
    assert_eq!(next_status(&mut conn).await, 100);
    let sent = bench.blue.only_request();
    assert_eq!(value(&sent.fields, "expect").as_deref(), Some("100-continue"));
    assert!(sent.body.is_empty(), "nothing of the body can be there yet");
    conn.send(b"abc").await;
    assert_eq!(conn.answer().await.json()["body_len"], 3);
    assert!(conn.still_serves().await);
}

/// Fails when: a final answer waits for a body that nobody asked for, or what comes next is taken for a request.
#[tokio::test]
async fn a_final_answer_needs_no_body() {
    let bench = Bench::new("").await;
    for code in [417, 413, 401, 200] {
        let mut conn = bench.proxy.conn().await;
        conn.send(format!("POST /?do=final&code={code} HTTP/1.1\r\n{WAITS}").as_bytes()).await;
        assert_eq!(next_status(&mut conn).await, code, "no 100 comes before it");
        let rest = within("the end", async { while conn.wire.fill().await.is_ok_and(|bytes| bytes > 0) {} });
        rest.await;
        let sent = bench.blue.requests().pop().unwrap();
        assert!(sent.body.is_empty() && !sent.complete);
        let connection = sent.connection;
        crate::support::wait::until_true("the server's connection to end", || bench.blue.has_ended(connection)).await;
    }
}

/// Fails when: a client that does not wait is kept waiting, or its body is lost.
#[tokio::test]
async fn a_client_need_not_wait() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    conn.send(format!("POST /up HTTP/1.1\r\n{WAITS}abc").as_bytes()).await;
    assert_eq!(conn.answer().await.json()["body_len"], 3);
    let chunked = "POST /up HTTP/1.1\r\nHost: iris.test\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    conn.send(chunked.as_bytes()).await;
    assert_eq!(conn.answer().await.json()["body_len"], 3);
    assert!(conn.still_serves().await);
}

/// Fails when: a server that knows no expectations, and a client that waits, wait for each other for ever.
#[tokio::test]
async fn a_server_that_knows_no_expectations_gets_the_body() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    let began = Instant::now();
    conn.send(format!("POST /up?do=unasked HTTP/1.1\r\n{WAITS}").as_bytes()).await;
    assert_eq!(next_status(&mut conn).await, 100);
    assert!(began.elapsed() > Duration::from_millis(500), "the server was given time");
    conn.send(b"abc").await;
    assert_eq!(conn.answer().await.json()["body_len"], 3);
}

/// Fails when: an expectation without a body, or one from a client that knows no 1xx, delays anything.
#[tokio::test]
async fn expectations_that_mean_nothing_are_dropped() {
    let bench = Bench::new("").await;
    for request in [
        "GET / HTTP/1.1\r\nHost: iris.test\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: iris.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: iris.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut conn = bench.proxy.conn().await;
        conn.send(request.as_bytes()).await;
        assert_eq!(next_status(&mut conn).await, 200, "{request:?}");
        assert_eq!(value(&bench.blue.requests().pop().unwrap().fields, "expect"), None);
    }
    let mut conn = bench.proxy.conn().await;
    conn.send(b"POST / HTTP/1.1\r\nHost: iris.test\r\nExpect: something-else\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!([200, 417].contains(&next_status(&mut conn).await));
}

/// Fails when: the client waits to be asked, and the answer is the proxy's own.
#[tokio::test]
async fn a_failure_is_told_without_a_body() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    conn.send(format!("POST /?do=expect-close HTTP/1.1\r\n{WAITS}").as_bytes()).await;
    assert_eq!(next_status(&mut conn).await, 502);
    let mut conn = bench.proxy.conn().await;
    conn.send(raw("/?do=unread-raw", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").as_bytes()).await;
    assert_eq!(next_status(&mut conn).await, 100, "however often the server asks, the client is asked once");
}
