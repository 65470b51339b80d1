//! Requests with bodies: answers that come before the body's end, clients that break off, servers that read slowly.

use std::time::Duration;

use super::*;
use crate::support::client::request;

const BIG: usize = 8 * 1024 * 1024;

/// Sends a long body while it reads the answer, as a careful client does.
async fn upload(stage: &Stage, path: &str, size: usize) -> (std::io::Result<Answer>, Conn) {
    let mut conn = stage.proxy.conn().await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n");
    conn.send(head.as_bytes()).await;
    let mut write = another(&conn);
    let writer = tokio::spawn(async move {
        let part = vec![b'u'; 64 * 1024];
        let mut left = size;
        while left > 0 && tokio::io::AsyncWriteExt::write_all(&mut write, &part[..left.min(part.len())]).await.is_ok() {
            left = left.saturating_sub(part.len());
        }
    });
    let answer = within("an early answer", conn.try_answer("POST")).await;
    writer.abort();
    (answer, conn)
}

/// A second handle of the same socket, to write while the first reads.
pub(super) fn another(conn: &Conn) -> tokio::net::TcpStream {
    let copy = socket2::SockRef::from(&conn.wire.stream).try_clone().unwrap();
    tokio::net::TcpStream::from_std(std::net::TcpStream::from(copy)).unwrap()
}

/// As llama.cpp does beyond 100 MiB. Fails when: the broken write hides the answer, part of it is lost, or the
/// connection is used again.
#[tokio::test]
async fn an_early_answer_survives_the_broken_upload() {
    let stage = Stage::new().await;
    // Not longer: a server that resets throws away what the proxy has not received yet.
    let long = "x".repeat(40_000);
    let chunked: String = (0..50).map(|_| format!("3e8\r\n{}\r\n", "c".repeat(1000))).collect::<String>() + "0\r\n\r\n";
    for (name, sent, status, length) in [
        (
            "413 with a length",
            answer("HTTP/1.1 413 Too Large|connection: close|content-length: 9", "too large"),
            413,
            9,
        ),
        ("413 without a body", answer("HTTP/1.1 413 Too Large|content-length: 0", ""), 413, 0),
        ("413 until the close", answer("HTTP/1.1 413 Too Large|connection: close", "too large"), 413, 9),
        ("200 in one chunk", answer("HTTP/1.1 200 OK|transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), 200, 5),
        (
            "200 in two chunks",
            answer("HTTP/1.1 200 OK|transfer-encoding: chunked", "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"),
            200,
            10,
        ),
        ("200 in fifty chunks", answer("HTTP/1.1 200 OK|transfer-encoding: chunked", &chunked), 200, 50_000),
        ("a long one", answer("HTTP/1.1 200 OK|content-length: 40000", &long), 200, 40_000),
    ] {
        for (how, end) in [
            ("unread bytes make a reset", vec![Step::Close]),
            ("reading on, then a FIN", vec![Step::HalfClose, Step::Drain]),
            ("closed later", vec![Step::Read(100_000), Step::Close]),
        ] {
            if name.contains("until the close") && how != "reading on, then a FIN" {
                continue; // A reset there cannot be told from a cut, and must not be.
            }
            for round in 0..3 {
                let path = stage.origin.path();
                let steps = [vec![Step::Read(1000), Step::Send(sent.clone())], end.clone()].concat();
                stage.origin.script(&path, steps);
                let (got, _conn) = upload(&stage, &path, BIG).await;
                let got = got.unwrap_or_else(|bad| panic!("{name}, {how}, {round}: {bad}"));
                assert_eq!((got.status, got.body.len()), (status, length), "{name}, {how}, {round}");
                let used = stage.origin.last(&path).connection;
                stage.origin.ended(used).await;
                assert_eq!(stage.origin.attempts(&path), 1);
            }
        }
    }
    let failures: f64 = stage.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await;
    assert_eq!(failures, 0.0, "an early answer is an answer");
}

/// Fails when: the rest of the body after an early answer is lost, or taken for the next request.
#[tokio::test]
async fn the_rest_of_a_body_after_an_early_answer_is_body() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    let early = answer("HTTP/1.1 200 OK|content-length: 5", "early");
    stage.origin.script(&path, vec![Step::Read(3), Step::Send(early), Step::Read(35)]);
    let mut conn = stage.proxy.conn().await;
    conn.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 38\r\n\r\nabc").as_bytes()).await;
    let got = conn.answer().await;
    assert_eq!(got.text(), "early");
    let rest = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_eq!(rest.len(), 35);
    // The proxy may have closed instead; then nothing of it may arrive as a request either.
    let sent = conn.wire.send(rest.as_bytes()).await.is_ok();
    if sent && conn.wire.send(&get("/next")).await.is_ok() {
        conn.try_answer("GET").await.ok();
    }
    assert_eq!(stage.origin.attempts("/smuggled"), 0);
}

/// Fails when: a client that goes away in its upload is not passed on at once, or counts against the slot.
#[tokio::test]
async fn a_client_that_breaks_off_its_upload_is_passed_on() {
    let stage = Stage::new().await;
    for (name, head, body) in [
        ("length", "content-length: 1000", "part of it"),
        ("chunked", "transfer-encoding: chunked", "5\r\nhello\r\n"),
        ("inside a chunk", "transfer-encoding: chunked", "9\r\nhello"),
        ("nothing of it", "content-length: 1000", ""),
    ] {
        for reset in [false, true] {
            let path = format!("{}/infer", stage.origin.path());
            stage.origin.script(&path, vec![Step::Drain]);
            let mut conn = stage.proxy.conn().await;
            conn.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n{body}").as_bytes()).await;
            stage.origin.until_taken(&path, 1).await;
            if reset {
                conn.wire.reset()
            } else {
                drop(conn)
            }
            let used = stage.origin.last(&path).connection;
            let end = stage.origin.ended(used).await;
            let seen = stage.origin.body(used);
            assert!(!seen.ends_with(b"0\r\n\r\n"), "{name} {reset}: a last chunk was invented: {seen:?} {end:?}");
            assert_eq!(stage.origin.attempts(&path), 1, "{name}");
        }
    }
    let upstream: f64 = stage.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await;
    assert_eq!(upstream, 0.0, "{}", stage.proxy.metrics().await);
}

/// Fails when: a client's broken chunk, after the answer has begun, is told as a failure of the server.
#[tokio::test]
async fn a_broken_chunk_after_the_answer_began_is_the_clients() {
    let stage = Stage::new().await;
    for rest in ["zz\r\n", ""] {
        let path = stage.origin.path();
        let begun = answer("HTTP/1.1 200 OK|transfer-encoding: chunked", "5\r\nhello\r\n");
        stage.origin.script(&path, vec![Step::Read(5), Step::Send(begun), Step::Drain]);
        let mut conn = stage.proxy.conn().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        conn.send(head.as_bytes()).await;
        assert_eq!(conn.head().await.status, 200);
        assert_eq!(conn.wire.chunk().await.unwrap(), "hello");
        if rest.is_empty() {
            conn.wire.reset();
        } else {
            conn.send(rest.as_bytes()).await;
            assert!(within("the cut", conn.wire.chunk()).await.is_err(), "no clean end");
        }
        let used = stage.origin.last(&path).connection;
        stage.origin.ended(used).await;
        assert!(!stage.origin.body(used).ends_with(b"0\r\n\r\n"));
    }
    let failures = || stage.proxy.metric("verdigris_request_failures_total", &["kind=\"client"]);
    crate::support::wait::until("both to be counted", || async {
        let count = failures().await;
        if count == 2.0 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(stage.failures("upstream_cut").await, 0.0);
}

/// Fails when: the proxy takes a body in faster than the server reads it, without bound.
#[tokio::test]
async fn a_server_that_does_not_read_stops_the_client() {
    let stage = Stage::with("replay = \"never\"", "").await;
    let path = stage.origin.path();
    let done = answer("HTTP/1.1 200 OK|content-length: 4", "done");
    stage.origin.script(&path, vec![Step::Gate, Step::Read(64 * 1024 * 1024), Step::Send(done)]);
    let mut conn = stage.proxy.conn().await;
    conn.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", 64 * 1024 * 1024).as_bytes())
        .await;
    let part = vec![b'u'; 64 * 1024];
    let mut sent = 0;
    // What the kernel and the proxy hold together; beyond it the writer waits.
    while let Ok(Ok(written)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::io::AsyncWriteExt::write(&mut conn.wire.stream, &part))
            .await
    {
        sent += written;
        assert!(sent < 40 * 1024 * 1024, "nothing holds the client back");
    }
    stage.origin.go();
    while sent < 64 * 1024 * 1024 {
        let left = (64 * 1024 * 1024 - sent).min(part.len());
        sent += within("room", tokio::io::AsyncWriteExt::write(&mut conn.wire.stream, &part[..left])).await.unwrap();
    }
    assert_eq!(conn.answer().await.text(), "done");
}

/// Fails when: request bytes are held back until the body is complete.
#[tokio::test]
async fn request_bytes_are_passed_on_at_once() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    stage.origin.script(
        &path,
        vec![Step::Read(10), Step::Mark, Step::Read(15), Step::Send(answer("HTTP/1.1 200 OK|content-length: 0", ""))],
    );
    let mut conn = stage.proxy.conn().await;
    conn.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes()).await;
    stage.origin.until_taken(&path, 1).await;
    conn.send(b"5\r\nhello\r\n").await;
    stage.origin.until_body(&path, 10).await;
    conn.send(b"5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(conn.answer().await.status, 200);
}

/// Fails when: methods that seldom have a body lose it, or get one invented.
#[tokio::test]
async fn a_body_is_passed_whatever_the_method() {
    let stage = Stage::new().await;
    let mut conn = stage.proxy.conn().await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND", "QUERY"] {
        let path = stage.origin.path();
        let length = conn.call(&request(method, &path, "", b"hello")).await;
        assert_eq!(
            (length.status, stage.origin.body(connection_of(&length)).ends_with(b"hello")),
            (200, true),
            "{method}"
        );
        let head = format!("{method} {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunked = conn.call(format!("{head}5\r\nworld\r\n0\r\n\r\n").as_bytes()).await;
        assert_eq!(
            (chunked.status, stage.origin.body(connection_of(&chunked)).ends_with(b"world")),
            (200, true),
            "{method}"
        );
        let empty = conn.call(format!("{method} {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
        assert_eq!(empty.status, 200, "{method}");
    }
}
