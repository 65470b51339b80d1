//! P9: hostile bytes never make a hang, a wrong guess or a second request upstream. Each is answered with a 4xx (or 501)
//! and a close, and nothing reaches the server.

use std::time::Duration;

use crate::support::{
    client::{Conn, get},
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wait::within,
};

async fn pair(tables: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green).tables(tables)).await;
    (blue, green, proxy)
}

/// What a refused request's connection carried: the answers' statuses, up to the close; 0 at the end if it was left open.
async fn statuses(proxy: &Proxy, bytes: &[u8]) -> Vec<u16> {
    let mut conn = Conn::open(proxy.addr).await;
    // The proxy may close while a large request is still being written.
    conn.wire.send(bytes).await.ok();
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(3), conn.try_answer("GET")).await {
            Ok(Ok(answer)) => seen.push(answer.status),
            Ok(Err(_closed)) => return seen,
            Err(_open) => {
                seen.push(0);
                return seen;
            }
        }
    }
}

/// A second request hidden in the first; if it is ever answered, the two sides disagree about where the first ended.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: iris.test\r\n\r\n";

/// Fails when: anything ambiguous is passed on, guessed at, or answered without closing.
#[tokio::test]
async fn malformed_requests_are_refused_and_reach_nothing() {
    let (blue, _green, proxy) = pair("").await;
    let post = |fields: &str, body: &str| format!("POST /up HTTP/1.1\r\nhost: iris.test\r\n{fields}\r\n\r\n{body}");
    let plain = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n\r\n");
    let host = "host: iris.test";
    let table: Vec<(&str, String)> = vec![
        ("two lengths that differ", post("content-length: 3\r\ncontent-length: 4", "abc")),
        ("a list of lengths that differ", post("content-length: 3, 4", "abc")),
        ("a negative length", post("content-length: -3", "abc")),
        ("a length with a sign", post("content-length: +3", "abc")),
        ("a length in hexadecimal", post("content-length: 0x3", "abc")),
        ("an empty length", post("content-length:", "abc")),
        ("a length beyond 64 bits", post("content-length: 99999999999999999999", "abc")),
        ("a length with a space inside", post("content-length: 1 3", "abc")),
        ("an unknown coding", post("transfer-encoding: gzip", "abc")),
        ("a coding before chunked", post("transfer-encoding: gzip, chunked", "0\r\n\r\n")),
        ("chunked not last", post("transfer-encoding: chunked, gzip", "0\r\n\r\n")),
        ("chunked twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n")),
        ("chunked twice in a list", post("transfer-encoding: chunked, chunked", "0\r\n\r\n")),
        ("chunked with a mark", post("transfer-encoding: \"chunked\"", "0\r\n\r\n")),
        ("chunked with a vertical tab", post("transfer-encoding: \x0bchunked", "0\r\n\r\n")),
        ("chunked in HTTP/1.0", format!("POST /up HTTP/1.0\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("no host", plain("GET / HTTP/1.1", "x-a: 1")),
        ("two hosts", plain("GET / HTTP/1.1", "host: iris.test\r\nhost: evil.test")),
        ("two equal hosts", plain("GET / HTTP/1.1", "host: iris.test\r\nhost: iris.test")),
        ("an empty host", plain("GET / HTTP/1.1", "host:")),
        ("a list of hosts", plain("GET / HTTP/1.1", "host: a/b")),
        ("a host with a space", plain("GET / HTTP/1.1", "host: iris test")),
        ("a host with user information", plain("GET / HTTP/1.1", "host: a@iris.test")),
        ("a host with a bad port", plain("GET / HTTP/1.1", "host: iris.test:80x")),
        ("a space before the colon", plain("GET / HTTP/1.1", "host: iris.test\r\nx-a : 1")),
        ("a space before a length's colon", post("content-length : 3", "abc")),
        ("a folded line", plain("GET / HTTP/1.1", "host: iris.test\r\nx-a: 1\r\n folded")),
        ("a first line that is folded", plain("GET / HTTP/1.1", " host: iris.test")),
        ("a NUL in a value", plain("GET / HTTP/1.1", "host: iris.test\r\nx-a: 1\x002")),
        ("a CR in a value", plain("GET / HTTP/1.1", "host: iris.test\r\nx-a: 1\r2")),
        ("a name that is no token", plain("GET / HTTP/1.1", "host: iris.test\r\nx(a): 1")),
        ("an empty name", plain("GET / HTTP/1.1", "host: iris.test\r\n: 1")),
        ("a line without a colon", plain("GET / HTTP/1.1", "host: iris.test\r\nnonsense")),
        ("a NUL in the target", plain("GET /a\x00b HTTP/1.1", host)),
        ("a space in the target", plain("GET /a b HTTP/1.1", host)),
        ("a relative target", plain("GET a HTTP/1.1", host)),
        ("an asterisk that is not for OPTIONS", plain("GET * HTTP/1.1", host)),
        ("CONNECT", plain("CONNECT iris.test:443 HTTP/1.1", host)),
        ("no version", plain("GET /", host)),
        ("an unknown version", plain("GET / HTTP/3.7", host)),
        ("a version in lower case", plain("GET / http/1.1", host)),
        ("a method that is no token", plain("G(T / HTTP/1.1", host)),
        (
            "TLS on a plain port",
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned() + &"x".repeat(64) + "\r\n\r\n",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, bytes) in table {
        let before = blue.hits();
        let seen = statuses(&proxy, format!("{bytes}{SMUGGLED}").as_bytes()).await;
        let reached = blue.hits() - before;
        if !matches!(seen.as_slice(), [400..=499 | 501 | 505]) || reached > 0 {
            wrong.push(format!("{what}: answered {seen:?}, {reached} reached the server"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// RFC 9112 section 6.3 leaves two ways: refuse, or take the coding alone and close. Fails when: the length is passed on,
/// or what follows the body is taken for a request.
#[tokio::test]
async fn length_and_coding_together_are_never_two_requests() {
    let (blue, _green, proxy) = pair("").await;
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ntransfer-encoding: Chunked\r\ncontent-length: 5",
    ] {
        let bytes = format!("POST /up HTTP/1.1\r\nhost: iris.test\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let before = blue.hits();
        let seen = statuses(&proxy, bytes.as_bytes()).await;
        assert!(matches!(seen.as_slice(), [200 | 400]), "{fields:?}: answered {seen:?}");
        let reached = &blue.requests()[usize::try_from(before).unwrap()..];
        assert!(reached.iter().all(|sent| sent.target == "/up" && sent.body.is_empty()), "{reached:?}");
        let both = |sent: &crate::support::origin::Recorded| {
            ["content-length", "transfer-encoding"]
                .iter()
                .all(|name| crate::support::wire::value(&sent.fields, name).is_some())
        };
        assert!(!reached.iter().any(both), "{fields:?}: passed on with both");
    }
}

/// Fails when: a broken chunk is repaired, taken for the end, or blamed on the server.
#[tokio::test]
async fn broken_chunks_never_complete_a_request() {
    let (blue, _green, proxy) = pair("").await;
    let broken = [
        ("no size", "\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("a size that is no number", "xyz\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("a negative size", "-3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("a size beyond 64 bits", "ffffffffffffffff3\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("more data than its size", "3\r\nabcdef\r\n0\r\n\r\n".to_owned()),
        ("no line end after the data", "3\r\nabc0\r\n\r\n".to_owned()),
        ("extensions without end", format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(200_000))),
        ("trailers without end", format!("3\r\nabc\r\n0\r\n{}\r\n", "x-t: 1\r\n".repeat(30_000))),
    ];
    for (index, (what, body)) in broken.into_iter().enumerate() {
        let head = format!("POST /up/{index} HTTP/1.1\r\nhost: iris.test\r\ntransfer-encoding: chunked\r\n\r\n");
        let seen = statuses(&proxy, format!("{head}{body}{SMUGGLED}").as_bytes()).await;
        assert!(matches!(seen.as_slice(), [] | [400..=499]), "{what}: answered {seen:?}");
    }
    let mut reached = blue.requests();
    assert!(reached.iter().all(|sent| !sent.complete), "{reached:?}");
    reached.retain(|sent| !sent.target.starts_with("/up/"));
    assert!(reached.is_empty(), "a second request: {reached:?}");
    let upstream = proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await;
    assert_eq!(upstream, 0.0, "a client's mistake is not the server's");
}

/// Fails when: a head may be as large as it likes.
#[tokio::test]
async fn heads_are_bounded() {
    let (blue, _green, proxy) = pair("[proxy.limits]\nheader_bytes_max = \"16KiB\"").await;
    let long_value = format!("GET / HTTP/1.1\r\nhost: iris.test\r\nx-a: {}\r\n\r\n", "x".repeat(20_000));
    let many_fields = format!("GET / HTTP/1.1\r\nhost: iris.test\r\n{}\r\n", "x-a: 1\r\n".repeat(200));
    let long_target = format!("GET /{} HTTP/1.1\r\nhost: iris.test\r\n\r\n", "x".repeat(70_000));
    let endless = format!("GET / HTTP/1.1\r\nhost: iris.test\r\nx-a: {}", "x".repeat(1 << 20));
    for (what, bytes) in
        [("a value", long_value), ("fields", many_fields), ("a target", long_target), ("no end", endless)]
    {
        let seen = statuses(&proxy, bytes.as_bytes()).await;
        assert!(matches!(seen.as_slice(), [431 | 414]), "{what}: answered {seen:?}");
    }
    assert_eq!(blue.hits(), 0);
}

/// Fails when: a head that never ends, or a connection without a request, is kept for ever.
#[tokio::test]
async fn slow_heads_and_idle_connections_end() {
    let limits = "[proxy.limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"600ms\"";
    let (blue, _green, proxy) = pair(limits).await;
    let mut slow = proxy.conn().await;
    slow.send(b"GET / HTTP/1.1\r\nhost: iris").await;
    let answer = slow.answer().await;
    assert_eq!((answer.status, answer.field("connection").as_deref()), (408, Some("close")));
    assert!(slow.is_closed().await);
    let mut idle = proxy.conn().await;
    assert_eq!(idle.call(&get("/")).await.status, 200);
    assert!(idle.is_closed().await, "an idle connection is closed without a word");
    let mut silent = proxy.conn().await;
    assert!(silent.is_closed().await, "and so is one that never said anything");
    assert_eq!(blue.hits(), 1);
}

/// Fails when: a trickle of bytes keeps a head alive beyond its time.
#[tokio::test]
async fn a_trickle_is_a_slow_head() {
    let (_blue, _green, proxy) = pair("[proxy.limits]\nheader_timeout = \"300ms\"").await;
    let mut conn = proxy.conn().await;
    conn.send(b"GET / HTTP/1.1\r\nhost: iris.test\r\nx-slow: ").await;
    within("the proxy's patience to end", async {
        while conn.wire.send(b"x").await.is_ok() {
            if tokio::time::timeout(Duration::from_millis(50), conn.wire.stream.readable()).await.is_ok() {
                break;
            }
        }
    })
    .await;
    assert_eq!(conn.answer().await.status, 408);
}

/// Fails when: broken HTTP/2 frames take down more than their own connection.
#[tokio::test]
async fn broken_http2_ends_its_own_connection_only() {
    let (blue, _green, proxy) = pair("").await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let huge_frame = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
    let headers_on_zero = [0, 0, 1, 1, 4, 0, 0, 0, 0, 0x82];
    let garbage = [0xde; 600];
    for broken in [huge_frame.as_slice(), &headers_on_zero, &garbage] {
        let mut conn = proxy.conn().await;
        conn.send(&[preface.as_slice(), &settings, broken].concat()).await;
        within("the connection's end", async { while conn.wire.fill().await.is_ok_and(|bytes| bytes > 0) {} }).await;
    }
    assert_eq!(blue.hits(), 0);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
}

/// Fails when: a thousand half-sent heads slow everybody else.
#[tokio::test]
async fn half_sent_heads_do_not_slow_others() {
    let (_blue, _green, proxy) = pair("").await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut conn = proxy.conn().await;
        conn.send(b"GET / HTTP/1.1\r\nhos").await;
        held.push(conn);
    }
    let mut conn = proxy.conn().await;
    for _ in 0..50 {
        assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    }
}
