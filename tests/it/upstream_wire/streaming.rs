//! Answers that take their time: each byte on its way at once, bounded memory, and a client's leaving passed on.

use std::time::Duration;

use super::*;
use crate::support::wait::until;

const CHUNKED: &str = "HTTP/1.1 200 OK|content-type: text/event-stream|transfer-encoding: chunked";

/// Fails when: a piece waits for the next one, whatever frames it.
#[tokio::test]
async fn every_piece_is_passed_on_at_once() {
    let stage = Stage::new().await;
    for (head, pieces, end) in [
        (CHUNKED, vec!["5\r\nhello\r\n", "5\r\nworld\r\n", "0\r\n\r\n"], None),
        (CHUNKED, vec!["b\r\ndata: one\n\n\r\n", "b\r\ndata: two\n\n\r\n", "0\r\n\r\n"], None),
        ("HTTP/1.1 200 OK|content-length: 10", vec!["hello", "world"], None),
        ("HTTP/1.1 200 OK|x-until: close", vec!["hello", "world"], Some(Step::Fin)),
    ] {
        let path = stage.origin.path();
        let mut steps = vec![Step::Send(answer(head, ""))];
        for piece in &pieces {
            steps.extend([Step::Gate, Step::Send(piece.as_bytes().to_vec())]);
        }
        steps.extend(end);
        stage.origin.script(&path, steps);
        let mut conn = stage.proxy.conn().await;
        conn.send(&get(&path)).await;
        let got = conn.head().await;
        assert_eq!(got.status, 200, "the head comes before the first piece of {head}");
        for piece in pieces.iter().filter(|piece| **piece != "0\r\n\r\n") {
            stage.origin.go();
            let wanted = piece.lines().last().unwrap_or_default();
            let part = match got.framing {
                crate::support::wire::Framing::Chunked => within(head, conn.wire.chunk()).await.unwrap(),
                _ => within(head, conn.wire.exactly(piece.len(), "a body")).await.unwrap(),
            };
            assert!(String::from_utf8_lossy(&part).contains(wanted), "{head} {part:?}");
        }
        if pieces.contains(&"0\r\n\r\n") {
            stage.origin.go();
        }
        if got.framing == crate::support::wire::Framing::Chunked {
            conn.rest(got).await;
        }
        assert!(conn.still_serves().await, "{head}");
    }
}

/// Fails when: an answer cannot flow while the request still does.
#[tokio::test]
async fn both_directions_flow_at_once() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    let mut steps = vec![Step::Read(6), Step::Send(answer(CHUNKED, ""))];
    for _ in 0..5 {
        steps.extend([Step::Send(b"2\r\nok\r\n".to_vec()), Step::Read(6)]);
    }
    steps.extend([Step::Read(5), Step::Send(b"0\r\n\r\n".to_vec())]);
    stage.origin.script(&path, steps);
    let mut conn = stage.proxy.conn().await;
    conn.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").as_bytes())
        .await;
    let head = conn.head().await;
    for _ in 0..5 {
        assert_eq!(within("an echo", conn.wire.chunk()).await.unwrap(), "ok");
        conn.send(b"1\r\na\r\n").await;
    }
    conn.send(b"0\r\n\r\n").await;
    conn.rest(head).await;
    assert!(conn.still_serves().await);
    assert_eq!(stage.next_connection(&mut conn).await, stage.origin.last(&path).connection);
}

/// Fails when: the proxy reads an answer in faster than the client takes it, without bound.
#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Send(answer("HTTP/1.1 200 OK|x-until: close", "")), Step::Flood]);
    let mut conn = stage.proxy.conn().await;
    conn.send(&get(&path)).await;
    assert_eq!(conn.head().await.status, 200);
    let mut last = u64::MAX;
    until("the flood to stop", || {
        let now = stage.origin.flooded();
        let stopped = now == last && now > 0;
        last = now;
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(now < 40 * 1024 * 1024, "nothing holds the server back");
            stopped.then_some(()).ok_or(now)
        }
    })
    .await;
    drop(conn);
    let used = stage.origin.last(&path).connection;
    stage.origin.ended(used).await;
}

/// Fails when: the server goes on working for a client that has gone.
#[tokio::test]
async fn a_client_that_leaves_is_passed_on() {
    let stage = Stage::new().await;
    for reset in [false, true] {
        for (name, before) in [
            ("before the first byte", vec![]),
            ("after the head", vec![Step::Send(answer(CHUNKED, ""))]),
            ("in a stream", vec![Step::Send(answer(CHUNKED, "5\r\nhello\r\n"))]),
            ("in a body with a length", vec![Step::Send(answer("HTTP/1.1 200 OK|content-length: 9", "hello"))]),
            ("in one until the close", vec![Step::Send(answer("HTTP/1.1 200 OK|x-a: 1", "hello"))]),
        ] {
            let path = stage.origin.path();
            let begun = !before.is_empty();
            stage.origin.script(&path, [before, vec![Step::Drain]].concat());
            let mut conn = stage.proxy.conn().await;
            conn.send(&get(&path)).await;
            stage.origin.until_taken(&path, 1).await;
            if begun {
                assert_eq!(conn.head().await.status, 200);
            }
            let began = std::time::Instant::now();
            if reset {
                conn.wire.reset()
            } else {
                drop(conn)
            }
            stage.origin.ended(stage.origin.last(&path).connection).await;
            assert!(began.elapsed() < Duration::from_secs(2), "{name}, reset: {reset}: {:?}", began.elapsed());
        }
    }
    let upstream: f64 = stage.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await;
    assert_eq!(upstream, 0.0, "who leaves is to blame");
}

/// Fails when: a client that leaves over HTTP/2 leaves the server working.
#[tokio::test]
async fn a_reset_stream_is_passed_on() {
    let stage = Stage::new().await;
    for before in [vec![], vec![Step::Send(answer(CHUNKED, "5\r\nhello\r\n"))]] {
        let path = stage.origin.path();
        stage.origin.script(&path, [before, vec![Step::Drain]].concat());
        let channel = Channel::open(stage.proxy.addr).await;
        let request = Request::get(channel.uri(&path)).body(()).unwrap();
        let (response, mut send) = channel.request(request, false).await.unwrap();
        stage.origin.until_taken(&path, 1).await;
        send.send_reset(h2::Reason::CANCEL);
        stage.origin.ended(stage.origin.last(&path).connection).await;
        drop(response);
    }
}

/// Fails when: a limit of the first byte or of idle connections cuts a stream that still flows.
#[tokio::test]
async fn no_limit_cuts_what_flows() {
    let tables = "[service.timeouts]\nfirst_byte = \"150ms\"\n[service.pool]\nidle_timeout = \"100ms\"";
    let stage = Stage::with("", tables).await;
    let path = stage.origin.path();
    let mut steps = vec![Step::Send(answer(CHUNKED, ""))];
    for _ in 0..8 {
        steps.extend([Step::Gate, Step::Send(b"2\r\nok\r\n".to_vec())]);
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    stage.origin.script(&path, steps);
    let mut conn = stage.proxy.conn().await;
    conn.send(&get(&path)).await;
    let head = conn.head().await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(60)).await; // the time that must not count
        stage.origin.go();
        assert_eq!(within("a piece", conn.wire.chunk()).await.unwrap(), "ok");
    }
    conn.rest(head).await;
}
