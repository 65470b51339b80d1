//! Changes of protocol: asked for and agreed, or not at all; then bytes both ways, each way's end its own.

use super::*;
use crate::support::client::request;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: foo";

fn ask(path: &str, protocol: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n").into_bytes()
}

/// An open tunnel and its path.
async fn tunnel(stage: &Stage, then: Vec<Step>) -> (Conn, String) {
    let path = stage.origin.path();
    stage.origin.script(&path, [vec![Step::Send(answer(SWITCH, ""))], then].concat());
    let mut conn = stage.proxy.conn().await;
    conn.send(&ask(&path, "foo")).await;
    assert_eq!(conn.head().await.status, 101);
    (conn, path)
}

async fn half_close(conn: &mut Conn) {
    tokio::io::AsyncWriteExt::shutdown(&mut conn.wire.stream).await.unwrap();
}

/// Fails when: bytes are changed, held back or lost, on either side of the 101.
#[tokio::test]
async fn bytes_pass_both_ways() {
    let stage = Stage::new().await;
    let (mut conn, path) = tunnel(&stage, vec![Step::Echo]).await;
    for text in ["a", "\0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        conn.send(text.as_bytes()).await;
        assert_eq!(within("an echo", conn.wire.exactly(text.len(), "a tunnel")).await.unwrap(), text);
    }
    let big = vec![9; 1024 * 1024];
    let (sent, got) = (big.clone(), big.len());
    let mut copy = super::uploads::another(&conn);
    let writer = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut copy, &sent).await });
    assert!(within("a big echo", conn.wire.exactly(got, "a tunnel")).await.unwrap() == big);
    writer.await.unwrap().unwrap();
    half_close(&mut conn).await;
    assert!(conn.is_closed().await);
    assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Fin);
}

/// Fails when: bytes that come in one piece with either head are lost.
#[tokio::test]
async fn early_bytes_are_kept() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    stage.origin.script(
        &path,
        vec![Step::Send(answer(SWITCH, "server first")), Step::Read(5), Step::Send(b"!".to_vec()), Step::Drain],
    );
    let mut conn = stage.proxy.conn().await;
    conn.send(&[&ask(&path, "foo")[..], b"early"].concat()).await;
    assert_eq!(conn.head().await.status, 101);
    assert_eq!(within("early bytes", conn.wire.exactly(13, "a tunnel")).await.unwrap(), "server first!");
    assert_eq!(stage.origin.body(stage.origin.last(&path).connection), b"early");
}

/// Fails when: one side's end is not passed on, or ends the other direction too.
#[tokio::test]
async fn each_direction_ends_by_itself() {
    let stage = Stage::new().await;
    // The client ends first; the server answers what it got and ends.
    let (mut conn, path) = tunnel(&stage, vec![Step::Echo]).await;
    conn.send(b"last words").await;
    half_close(&mut conn).await;
    assert_eq!(within("an answer after the end", conn.wire.exactly(10, "a tunnel")).await.unwrap(), "last words");
    assert!(conn.is_closed().await);
    assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Fin);
    // The server ends first; the client goes on sending.
    let (mut conn, path) = tunnel(&stage, vec![Step::Send(b"bye".to_vec()), Step::HalfClose, Step::Drain]).await;
    assert_eq!(within("the last bytes", conn.wire.exactly(3, "a tunnel")).await.unwrap(), "bye");
    assert!(conn.is_closed().await, "the end comes without waiting for the other direction");
    conn.send(b"still here").await;
    stage.origin.until_body(&path, 10).await;
    drop(conn);
    assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Fin);
}

/// Fails when: a reset of one side reaches the other as a clean end, or not at all.
#[tokio::test]
async fn a_reset_is_passed_on_as_one() {
    let stage = Stage::new().await;
    let (mut conn, _path) = tunnel(&stage, vec![Step::Gate, Step::Rst]).await;
    stage.origin.go();
    let end = within("the end", conn.wire.fill()).await;
    assert!(end.is_err(), "a clean end: {end:?}");
    let (conn, path) = tunnel(&stage, vec![Step::Echo]).await;
    conn.wire.reset();
    assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Rst);
}

/// Fails when: a refused wish leaves anything but an ordinary connection on either side.
#[tokio::test]
async fn a_refusal_leaves_an_ordinary_connection() {
    let stage = Stage::new().await;
    let mut conn = stage.proxy.conn().await;
    for (head, body, status, after) in [
        ("HTTP/1.1 200 OK|content-length: 8", "ignored!", 200, Reused),
        ("HTTP/1.1 403 No|content-length: 2", "no", 403, Reused),
        ("HTTP/1.1 403 No|transfer-encoding: chunked", "2\r\nno\r\n0\r\n\r\n", 403, Reused),
        ("HTTP/1.1 426 Upgrade Required|upgrade: foo|connection: upgrade|content-length: 2", "no", 426, Reused),
        ("HTTP/1.1 401 No|connection: close|content-length: 0", "", 401, Discarded),
        ("HTTP/1.1 500 No|content-length: 0", "", 500, Discarded),
    ] {
        let path = stage.origin.path();
        stage.origin.script(&path, vec![Step::Send(answer(head, body))]);
        let got = conn.call(&ask(&path, "foo")).await;
        assert_eq!(got.status, status, "{head}");
        let again = stage.next_connection(&mut conn).await == stage.origin.last(&path).connection;
        assert_eq!(again, after == Reused, "{head}");
    }
}

/// Fails when: a protocol that was not agreed on is switched to.
#[tokio::test]
async fn only_what_was_asked_for_is_switched_to() {
    let stage = Stage::new().await;
    for (wish, head, status) in [
        ("foo", "HTTP/1.1 101 S|connection: upgrade|upgrade: foo", 101),
        ("foo", "HTTP/1.1 101 S|connection: Upgrade|upgrade: FOO", 101),
        ("foo/2", "HTTP/1.1 101 S|connection: upgrade|upgrade: foo/2", 101),
        ("bar, foo", "HTTP/1.1 101 S|connection: upgrade|upgrade: foo", 101),
        ("websocket", "HTTP/1.1 101 S|connection: upgrade|upgrade: WebSocket", 101),
        ("foo", "HTTP/1.1 101 S|connection: upgrade|upgrade: bar", 502),
        ("websocket", "HTTP/1.1 101 S|connection: upgrade|upgrade: h2c", 502),
        ("foo", "HTTP/1.1 101 S|connection: upgrade", 502),
        ("foo", "HTTP/1.1 101 S", 502),
        ("h2c", "HTTP/1.1 101 S|connection: upgrade|upgrade: h2c", 502),
    ] {
        let path = stage.origin.path();
        stage.origin.script(&path, vec![Step::Send(answer(head, "")), Step::Drain]);
        let mut conn = stage.proxy.conn().await;
        conn.send(&ask(&path, wish)).await;
        let got = conn.head().await;
        assert_eq!(got.status, status, "{wish}: {head}");
        if status == 101 {
            assert!(got.field("upgrade").is_some() && got.field("connection").is_some());
        } else {
            assert_eq!(got.field("x-verdigris-error").as_deref(), Some("upstream_malformed"));
            stage.origin.ended(stage.origin.last(&path).connection).await;
            assert!(
                {
                    conn.rest(got).await;
                    conn.still_serves().await
                },
                "{wish}: {head}"
            );
        }
    }
}

/// Fails when: a wish that may not be passed on is, or one that may is not.
#[tokio::test]
async fn only_a_proper_wish_is_passed_on() {
    let stage = Stage::new().await;
    for (fields, passes) in [
        ("connection: upgrade\r\nupgrade: foo\r\n", true),
        ("Connection: keep-alive, Upgrade\r\nUpgrade: foo\r\n", true),
        ("upgrade: foo\r\n", false),
        ("connection: upgrade\r\n", false),
        ("connection: keep-alive\r\nupgrade: foo\r\n", false),
        ("connection: upgrade\r\nupgrade: h2c\r\n", false),
        ("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n", false),
        ("connection: upgrade\r\nupgrade: foo, H2C\r\n", false),
    ] {
        let path = stage.origin.path();
        let mut conn = stage.proxy.conn().await;
        assert_eq!(conn.call(&request("GET", &path, fields, b"")).await.status, 200);
        let head = stage.origin.last(&path).head.to_ascii_lowercase();
        assert_eq!(head.contains("upgrade: foo"), passes, "{fields:?} {head}");
        assert_eq!(head.contains("connection: upgrade"), passes, "{fields:?} {head}");
        assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
    }
    // HTTP/1.0 knows no change of protocol.
    let path = stage.origin.path();
    let mut conn = stage.proxy.conn().await;
    conn.send(format!("GET {path} HTTP/1.0\r\nhost: h\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n").as_bytes())
        .await;
    assert_eq!(conn.answer().await.status, 200);
    assert!(!stage.origin.last(&path).head.contains("upgrade"));
}

/// Fails when: the body of a request that asks for a change is taken for bytes of the new protocol, or lost.
#[tokio::test]
async fn a_body_comes_before_the_new_protocol() {
    let stage = Stage::new().await;
    for fields in ["content-length: 4\r\n\r\nbody", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        let path = stage.origin.path();
        let body = fields.split_once("\r\n\r\n").unwrap().1.to_owned();
        stage.origin.script(&path, vec![Step::Read(body.len()), Step::Send(answer(SWITCH, "")), Step::Echo]);
        let mut conn = stage.proxy.conn().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: foo\r\n{fields}");
        conn.send(head.as_bytes()).await;
        assert_eq!(conn.head().await.status, 101, "{fields:?}");
        conn.send(b"hello").await;
        assert_eq!(within("an echo", conn.wire.exactly(5, "a tunnel")).await.unwrap(), "hello", "{fields:?}");
        let seen = stage.origin.body(stage.origin.last(&path).connection);
        assert!(seen.starts_with(body.as_bytes()), "{:?}", String::from_utf8_lossy(&seen));
    }
}

/// Fails when: a connection on which a change was refused or agreed is given to another request at the same time.
#[tokio::test]
async fn a_tunnel_keeps_its_connection_to_itself() {
    let stage = Stage::new().await;
    let mut other = stage.proxy.conn().await;
    let before = stage.next_connection(&mut other).await;
    let (mut conn, path) = tunnel(&stage, vec![Step::Echo]).await;
    assert_eq!(stage.origin.last(&path).connection, before, "an idle connection may become a tunnel");
    assert_ne!(stage.next_connection(&mut other).await, before);
    conn.send(b"x").await;
    assert_eq!(within("an echo", conn.wire.exactly(1, "a tunnel")).await.unwrap(), "x");
}
