//! Several requests on one connection, and answers that come early: RFC 9112 section 9.3.

use std::time::Duration;

use super::{Bench, head, post};
use crate::support::{client::get, wait::within};

/// Fails when: answers change places, or a request is lost.
#[tokio::test]
async fn answers_keep_their_order() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    let mut bytes = Vec::new();
    for index in 0..20 {
        let slow = if index % 5 == 0 { "&ms=30" } else { "" };
        if index % 2 == 0 {
            bytes.extend(get(&format!("/{index}?a=b{slow}")));
        } else {
            bytes.extend(
                post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n")
                    .replace("/up", &format!("/{index}?"))
                    .into_bytes(),
            );
        }
    }
    conn.send(&bytes).await;
    for index in 0..20 {
        let answer = conn.answer().await;
        assert!(answer.json()["target"].as_str().unwrap().starts_with(&format!("/{index}?")), "{index}");
    }
    assert!(conn.still_serves().await);
}

/// Fails when: an error in the middle is answered out of turn, or what follows it is still taken for a request.
#[tokio::test]
async fn an_error_in_the_middle_ends_the_line() {
    let bench = Bench::new("").await;
    for bad in [
        "GET / HTTP/1.1\r\nHost: iris.test\r\nx a: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: iris.test\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: iris.test\r\nTransfer-Encoding: x\r\n\r\n",
    ] {
        let before = bench.blue.hits();
        let mut conn = bench.proxy.conn().await;
        conn.send([get("/first?ms=50"), bad.into(), get("/smuggled")].concat().as_slice()).await;
        assert_eq!(conn.answer().await.json()["target"], "/first?ms=50");
        assert_eq!(conn.answer().await.status, 400, "{bad:?}");
        assert!(conn.is_closed().await, "{bad:?}");
        assert_eq!(bench.blue.hits(), before + 1, "{bad:?}");
    }
}

/// Fails when: heads that follow each other on a kept connection are looked at out of step.
#[tokio::test]
async fn every_way_to_cut_two_requests_is_the_same() {
    let bench = Bench::new("").await;
    let two = [post("Content-Length: 4\r\nx: #\r\n", "a\nb\n"), head("GET /b HTTP/1.1", "x: #\r\n")].concat();
    for cut in (1..two.len()).step_by(7) {
        let mut conn = bench.proxy.conn().await;
        conn.send(&two.as_bytes()[..cut]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        conn.send(&two.as_bytes()[cut..]).await;
        assert_eq!(conn.answer().await.status, 200, "cut at {cut}");
        assert_eq!(conn.answer().await.status, 200, "cut at {cut}");
        assert!(conn.still_serves().await, "cut at {cut}");
    }
}

/// Fails when: an answer that comes while a large body is still sent is lost, or the rest of the body is taken for a
/// request.
#[tokio::test]
async fn an_early_answer_arrives() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    let length = 64 << 20;
    conn.send(
        format!("POST /?do=early&code=413 HTTP/1.1\r\nHost: iris.test\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
    )
    .await;
    let block = b"GET /smuggled HTTP/1.1\r\nHost: iris.test\r\n\r\n".repeat(1000);
    // A client that sends all it can before it looks for an answer.
    within("the upload or its end", async {
        let mut sent = 0;
        while sent < length && conn.wire.send(&block).await.is_ok() {
            sent += block.len();
        }
    })
    .await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "too large"));
    assert_eq!(bench.blue.hits(), 1);
}
