//! Bounds of a head, and what a client is told: RFC 9112 section 3, RFC 6585.

use std::time::Duration;

use super::{Bench, Case, expect, head, passed, refused};
use crate::support::client::get;

const LIMITS: &str = "[proxy.limits]\nheader_bytes_max = \"16KiB\"\nheader_timeout = \"300ms\"";

async fn unrouted(bench: &Bench, kind: &str) -> f64 {
    bench.proxy.metric("verdigris_unrouted_failures_total", &[&format!("kind=\"{kind}\"")]).await
}

/// Fails when: a head may be as large as it likes, or its refusal is bare or uncounted.
#[tokio::test]
async fn heads_are_bounded_and_refusals_are_told() {
    let bench = Bench::new(LIMITS).await;
    let get = "GET / HTTP/1.1";
    let many = |count: usize| (0..count).map(|index| format!("x-{index}: 1\r\n")).collect::<String>();
    let too_large = |name: &str, bytes: String| refused(name, bytes).allowing(&[431]);
    let table: Vec<Case> = vec![
        too_large("a value", head(get, &format!("x: {}\r\n", "v".repeat(20_000)))),
        too_large("a name", head(get, &format!("{}: v\r\n", "n".repeat(20_000)))),
        too_large("fields", head(get, &many(200))),
        too_large("equal fields", head(get, &"x: 1\r\n".repeat(200))),
        too_large("a value without end", format!("{get}\r\nHost: iris.test\r\nx: {}", "v".repeat(1 << 20))),
        refused("a target", head(&format!("GET /{} HTTP/1.1", "a".repeat(70_000)), "")).allowing(&[414]),
        refused("a target without end", format!("GET /{}", "a".repeat(1 << 20))).allowing(&[414]),
        refused("a method without end", "A".repeat(1 << 20)).allowing(&[400, 414, 431, 501]),
        passed("just enough fields", head(get, &many(98)), |sent, _| expect("fields", sent.fields.len() > 98, true)),
        passed("just enough bytes", head(get, &format!("x: {}\r\n", "v".repeat(15_000))), super::arrives),
        passed("a long target", head(&format!("GET /{} HTTP/1.1", "a".repeat(12_000)), ""), super::arrives),
    ];
    bench.run(table).await;
    assert_eq!(unrouted(&bench, "headers_too_large").await, 5.0);
    assert!(unrouted(&bench, "uri_too_long").await >= 2.0);
}

/// Fails when: a slow head is kept, its answer is bare, or it is not counted.
#[tokio::test]
async fn slow_heads_are_told_and_counted() {
    let bench = Bench::new(LIMITS).await;
    for start in ["G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: iris.test\r\nx: "] {
        let mut conn = bench.proxy.conn().await;
        conn.send(start.as_bytes()).await;
        let answer = conn.answer().await;
        assert_eq!((answer.status, answer.error().as_deref()), (408, Some("header_timeout")), "{start:?}");
        assert_eq!(answer.json()["error"], "header_timeout");
        assert!(conn.is_closed().await);
    }
    assert_eq!(unrouted(&bench, "header_timeout").await, 3.0);
    let mut second = bench.proxy.conn().await;
    second.call(&get("/")).await;
    second.send(b"GET / HT").await;
    assert_eq!(second.answer().await.status, 408, "a later head has the same time");
}

/// Fails when: pauses inside a head or a body that are short enough are held against the client.
#[tokio::test]
async fn short_pauses_are_nothing() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    let bytes = b"POST /slow HTTP/1.1\r\nHost: iris.test\r\nContent-Length: 3\r\n\r\nabc";
    for byte in bytes {
        conn.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(conn.answer().await.json()["body_len"], 3);
    assert!(conn.still_serves().await);
    conn.send(b"GET /a HTTP/1.1\r").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    conn.send(b"\nHost: iris.test\r\n\r").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    conn.send(b"\n").await;
    assert_eq!(conn.answer().await.status, 200, "a line end in two pieces is one");
}

/// Fails when: connections that say nothing, or half of something, slow the others.
#[tokio::test]
async fn idle_and_half_sent_connections_slow_nobody() {
    let bench = Bench::new("").await;
    let mut held = Vec::new();
    for index in 0..600 {
        let mut conn = bench.proxy.conn().await;
        if index % 3 > 0 {
            conn.send(
                [&b"GET / HTTP/1.1\r\nHos"[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"]
                    [index % 2],
            )
            .await;
        }
        held.push(conn);
    }
    let mut conn = bench.proxy.conn().await;
    let answers = async {
        for _ in 0..100 {
            assert_eq!(conn.call(&get("/")).await.colour(), "blue");
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), answers).await.is_ok());
}
