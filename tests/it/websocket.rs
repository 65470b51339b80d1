//! Upgrades: a tunnel only after the server's 101, early bytes kept on both sides, and ends passed on.

use crate::support::{
    client::{get, request},
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wait::within,
    websocket::{WebSocket, frame, handshake},
    wire::value,
};

async fn pair() -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    (blue, green, proxy)
}

/// Fails when: the handshake loses a field, or frames are changed on their way.
#[tokio::test]
async fn a_websocket_passes() {
    let (blue, _green, proxy) = pair().await;
    let mut socket = WebSocket::open(proxy.addr).await;
    assert_eq!(socket.head.field("sec-websocket-accept").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(socket.head.field("upgrade").as_deref(), Some("websocket"));
    assert!(socket.head.field("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert_eq!(socket.head.field("x-verdigris-slot").as_deref(), Some("blue"));
    for round in 0..20 {
        socket.echo(&format!("frame {round}")).await;
    }
    let sent = blue.only_request();
    assert_eq!(value(&sent.fields, "sec-websocket-key").as_deref(), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(value(&sent.fields, "upgrade").as_deref(), Some("websocket"));
}

/// Fails when: bytes that come together with either handshake are lost.
#[tokio::test]
async fn early_bytes_of_both_sides_are_kept() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let early = frame("early");
    conn.send(&[handshake("/chat?do=upgrade&greet=1"), early.clone()].concat()).await;
    assert_eq!(conn.head().await.status, 101);
    let wanted = [b"hello".as_slice(), &early].concat();
    let got = within("both sides' early bytes", conn.wire.exactly(wanted.len(), "a tunnel")).await.unwrap();
    assert_eq!(got, wanted);
}

/// Fails when: one side's end is not passed on to the other.
#[tokio::test]
async fn ends_are_passed_on() {
    let (blue, _green, proxy) = pair().await;
    let mut socket = WebSocket::open(proxy.addr).await;
    socket.echo("hello").await;
    blue.kill().await;
    assert!(socket.conn.is_closed().await, "the server's end reaches the client");
}

/// Fails when: a refused upgrade spoils the connection.
#[tokio::test]
async fn a_refused_upgrade_leaves_an_ordinary_connection() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&handshake("/chat")).await.status, 200, "a server that ignores the wish");
    assert_eq!(conn.call(&handshake("/chat?code=403")).await.status, 403);
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
}

/// Fails when: `Upgrade: h2c` is passed on, which opens a way around every later rule.
#[tokio::test]
async fn h2c_is_never_asked_for_upstream() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let fields = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(conn.call(&request("GET", "/", fields, b"")).await.status, 200);
    let sent = blue.only_request();
    assert_eq!((value(&sent.fields, "upgrade"), value(&sent.fields, "http2-settings")), (None, None));
}
