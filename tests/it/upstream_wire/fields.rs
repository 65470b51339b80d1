//! Fields of answers on their way to the client: what ends here, what passes, and in which form.

use super::*;

async fn fields_of(stage: &Stage, sent: &str) -> Answer {
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Send(answer(sent, "ok"))]);
    let answer = stage.proxy.once(&get(&path)).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{sent}");
    answer
}

/// Fails when: a hop-by-hop field of an answer is passed on, or what `Connection` names.
#[tokio::test]
async fn hop_by_hop_fields_end_here() {
    let stage = Stage::new().await;
    for (fields, gone) in [
        ("connection: keep-alive", "keep-alive"),
        ("connection: close", ""),
        ("keep-alive: timeout=5, max=100", "keep-alive"),
        ("proxy-connection: keep-alive", "proxy-connection"),
        ("connection: x-hop|x-hop: 1", "x-hop"),
        ("connection: close, x-hop|x-hop: 1", "x-hop"),
        ("connection: X-HOP , ,x-other|x-hop: 1|x-other: 2", "x-hop x-other"),
        ("connection: x-hop|connection: x-other|x-hop: 1|x-other: 2", "x-hop x-other"),
        ("connection: x-hop|x-hop: 1|x-hop: 2", "x-hop"),
        ("upgrade: websocket", "upgrade"),
        ("connection: upgrade|upgrade: h2c", "upgrade"),
        ("te: trailers", "te"),
        ("x-verdigris-error: upstream_closed", "x-verdigris-error"),
    ] {
        let got = fields_of(&stage, &format!("HTTP/1.1 200 OK|{fields}|content-length: 2")).await;
        for name in gone.split_whitespace() {
            assert_eq!(got.field(name), None, "{fields}");
        }
        let connection = got.field("connection");
        assert!(connection.as_deref().is_none_or(|value| value == "close"), "{fields}: {connection:?}");
    }
}

/// Fails when: naming a field that frames the message takes it out.
#[tokio::test]
async fn framing_cannot_be_named_away() {
    let stage = Stage::new().await;
    for fields in ["connection: content-length, content-type", "connection: host", "connection: connection"] {
        let got = fields_of(&stage, &format!("HTTP/1.1 200 OK|{fields}|content-type: a/b|content-length: 2")).await;
        assert_eq!(got.field("content-length").as_deref(), Some("2"), "{fields}");
        assert_eq!(got.field("content-type").as_deref(), Some("a/b"), "{fields}");
    }
}

/// Fails when: an end-to-end field is lost, joined with its like, reordered among them, or written in another case.
#[tokio::test]
async fn other_fields_pass_unchanged() {
    let stage = Stage::new().await;
    let sent = "HTTP/1.1 200 OK|Set-Cookie: a=1; Path=/|X-One: 1|Set-Cookie: b=2, c|x-EMPTY:|Set-Cookie: a=3|\
                Access-Control-Allow-Origin:|Access-Control-Allow-Origin:|WWW-Authenticate: Basic|WWW-Authenticate: B|\
                Via: 1.1 other|Trailer-Like: x|ETag: \"q\"|Content-Length: 2";
    let got = fields_of(&stage, sent).await;
    assert_eq!(got.fields("set-cookie"), ["a=1; Path=/", "b=2, c", "a=3"]);
    assert_eq!(got.fields("x-empty"), [""]);
    assert_eq!(got.fields("access-control-allow-origin"), ["", ""]);
    assert_eq!(got.fields("www-authenticate"), ["Basic", "B"]);
    let names: Vec<_> = got.fields.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["Set-Cookie", "X-One", "x-EMPTY", "WWW-Authenticate", "ETag"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert_eq!(got.fields("date").len(), 1, "an answer without one gets the time it came (RFC 9110 section 6.6.1)");
    assert_eq!(got.field("server"), None);
}

/// Fails when: the reason phrase or the bytes of a value are changed.
#[tokio::test]
async fn bytes_pass_unchanged() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    let sent = [&b"HTTP/1.1 200 Quite Right\r\nx-high: a\xff\xfe\x80z\r\nx-tab: a\tb\r\ndate: then\r\ncontent-length: 0\r\n\r\n"[..]];
    stage.origin.script(&path, vec![Step::Send(sent.concat())]);
    let mut conn = stage.proxy.conn().await;
    conn.send(&get(&path)).await;
    let head = conn.head().await;
    assert!(head.bytes.starts_with(b"HTTP/1.1 200 Quite Right\r\n"), "{:?}", head.bytes);
    for wanted in [&b"x-high: a\xff\xfe\x80z\r\n"[..], b"x-tab: a\tb\r\n", b"date: then\r\n"] {
        assert!(head.bytes.windows(wanted.len()).any(|window| window == wanted), "{:?}", head.bytes);
    }
}

/// Fails when: trailers are lost for a client that wants them, or forced on one that does not.
#[tokio::test]
async fn trailers_pass_to_whoever_wants_them() {
    let stage = Stage::new().await;
    for (wish, wanted) in [("te: trailers\r\nconnection: te\r\n", vec!["1".to_owned()]), ("", vec![])] {
        let path = stage.origin.path();
        let head = "HTTP/1.1 200 OK|trailer: x-sum|transfer-encoding: chunked";
        stage.origin.script(&path, vec![Step::Send(answer(head, "2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"))]);
        let mut conn = stage.proxy.conn().await;
        let got = conn.call(format!("GET {path} HTTP/1.1\r\nhost: h\r\n{wish}\r\n").as_bytes()).await;
        assert_eq!(got.text(), "ok");
        assert_eq!(crate::support::wire::values(&got.trailers, "x-sum"), wanted);
    }
}

/// Fails when: a trailer can smuggle in a field that frames or authenticates.
#[tokio::test]
async fn trailers_that_frame_are_dropped() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    let head = "HTTP/1.1 200 OK|trailer: content-length, transfer-encoding, x-sum|transfer-encoding: chunked";
    let body = "2\r\nok\r\n0\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\nx-sum: 1\r\n\r\n";
    stage.origin.script(&path, vec![Step::Send(answer(head, body))]);
    let mut conn = stage.proxy.conn().await;
    let got =
        conn.call(format!("GET {path} HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\n\r\n").as_bytes()).await;
    let names: Vec<_> = got.trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names, ["x-sum"]);
    assert_eq!(stage.next_connection(&mut conn).await, stage.origin.last(&path).connection);
}
