//! Who gets through a handshake, with which protocol and certificate; and who does not.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Set, set};
use crate::support::{
    client::{Conn, get},
    grpc::Channel,
    load::{Kind, Load, Switch, assert_no_failures, assert_none_stale},
    tls::{der, shown},
    wait::within,
    websocket::WebSocket,
    wire::value,
};

/// Reads until the end; an end without `close_notify` is an error.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    within("the end", stream.read_to_end(&mut bytes)).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Fails when: in `net::open`, the protocol agreed on is not taken from ALPN; in `net::tls::server`, a protocol is not
/// offered; in `proxy::headers::forwarding`, the scheme is always `http`.
#[tokio::test]
async fn the_protocol_is_agreed_on_in_the_handshake() {
    let set = set(|_, config| config).await;
    let (h1, h2) = (set.relay("http/1.1").await, set.relay("h2").await);
    let mut conn = Conn::open(h1.addr).await;
    assert_eq!(conn.call(&get("/a")).await.colour(), "blue");
    assert!(conn.still_serves().await, "a connection serves many requests");
    let sent = set.blue.requests();
    assert_eq!(value(&sent[0].fields, "x-forwarded-proto").as_deref(), Some("https"));
    let channel = Channel::open(h2.addr).await;
    assert_eq!(channel.call("Unary", &["x"]).await.messages, ["blue:x"]);
    WebSocket::open(h1.addr).await.echo("over TLS").await;

    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = set.ca.client().alpn(offered).connect(set.proxy.addr).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
    }
    assert!(set.ca.client().alpn(&["spdy/3"]).connect(set.proxy.addr).await.is_err());
}

/// Fails when: in `net::open`, a client without ALPN is taken for one of either protocol without a look at its bytes.
#[tokio::test]
async fn without_alpn_the_first_bytes_tell() {
    let set = set(|_, config| config).await;
    let relay = crate::support::tls::Relay::start(set.proxy.addr, set.ca.client()).await;
    assert_eq!(Conn::open(relay.addr).await.call(&get("/")).await.colour(), "blue");
    assert_eq!(Channel::open(relay.addr).await.call("Unary", &["x"]).await.messages, ["blue:x"]);
}

/// Fails when: in `net::tls::certificates`, a name, a wildcard or the default leads to another certificate.
#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let set = set(|ca, config| {
        let pairs = [("one", &["one.test", "127.0.0.1"][..]), ("wild", &["*.wild.test"])];
        let more = pairs.map(|(name, names)| {
            ca.put(name, names);
            format!("{{ {} }}", ca.keys(name).trim().replace('\n', ", "))
        });
        config.tables(&format!("more = [{}]", more.join(", ")))
    })
    .await;
    let serial = |name: &str| {
        der(&crate::support::tls::Pair {
            cert: std::fs::read_to_string(set.ca.path(&format!("{name}.pem"))).unwrap(),
            key: String::new(),
        })
    };
    for (asked, certificate) in
        [("iris.test", "iris"), ("one.test", "one"), ("ONE.test", "one"), ("a.wild.test", "wild")]
    {
        let got = set.client().name(asked).shown(set.proxy.addr).await.unwrap();
        assert!(got == serial(certificate), "{asked} is not answered by {certificate}");
    }
    for unknown in ["a.b.wild.test", "wild.test", "nobody.test", "127.0.0.1"] {
        let refused = set.client().name(unknown).shown(set.proxy.addr).await.unwrap_err().to_string();
        assert!(
            refused.contains("only valid for DnsName(\"iris.test\")"),
            "{unknown} is answered by the first certificate: {refused}"
        );
    }
}

/// Fails when: in `net::open`, somebody who does not speak TLS, or only half of it, is not told, not closed or not
/// counted; or one that only connects is.
#[tokio::test]
async fn who_does_not_speak_tls_is_told_and_counted() {
    let set = set(|_, config| config.tables("[proxy.limits]\nheader_timeout = \"300ms\"")).await;
    let addr = set.proxy.addr;
    let answer = set.proxy.once(&get("/")).await;
    assert_eq!((answer.status, answer.text().trim()), (400, "this port speaks TLS; call https://"));
    set.until_failures("plain_http", 1.0).await;

    drop(TcpStream::connect(addr).await.unwrap());
    let mut garbage = TcpStream::connect(addr).await.unwrap();
    garbage.write_all(b"\x00\xff\x00garbage").await.unwrap();
    rest(&mut garbage).await.ok();
    set.until_failures("tls_handshake", 1.0).await;
    // A handshake that begins well and goes on too slowly.
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
    let mut mute = TcpStream::connect(addr).await.unwrap();
    rest(&mut slow).await.ok();
    rest(&mut mute).await.ok();
    set.until_failures("tls_handshake", 3.0).await;
    assert_eq!(set.blue.hits(), 0, "nothing of it reached a server");
}

/// Fails when: in `net::downstream`, an answer's end over TLS comes without `close_notify`, or a refused head's answer
/// is lost.
#[tokio::test]
async fn an_end_is_told_from_a_cut() {
    let set = set(|_, config| config).await;
    let mut stream = set.client().connect(set.proxy.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: iris.test\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "), "ends with close_notify");
    let mut stream = set.client().connect(set.proxy.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: iris.test\r\nbad header\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.unwrap().starts_with("HTTP/1.1 400"));
}

/// P7 over TLS. Fails when: what a drain deadline cuts looks like an end: the last chunk is sent.
#[tokio::test]
async fn a_cut_is_seen_as_one() {
    let set =
        set(|_, config| config.service(|service| service.tables = "[service.drain]\ncut_after = \"100ms\"".into()));
    let set = set.await;
    let mut stream = set.client().connect(set.proxy.addr).await.unwrap();
    stream.write_all(&get("/?do=steps&n=3")).await.unwrap();
    let mut head = [0; 12];
    within("a head", stream.read_exact(&mut head)).await.unwrap();
    set.proxy.switch("green").await;
    let end = rest(&mut stream).await;
    assert!(!end.as_ref().is_ok_and(|text| text.ends_with("0\r\n\r\n")), "{end:?}");
}

/// P1 and P2 over TLS, under all kinds of load. Fails when: a switch closes TLS connections, or an answer comes from
/// the wrong slot.
#[tokio::test]
async fn switches_under_tls_load_lose_nothing() {
    let set = set(|_, config| config).await;
    let (h1, h2) = (set.relay("http/1.1").await, set.relay("h2").await);
    let first = Load::start(h1.addr, &[(Kind::Get, 2), (Kind::Post, 2), (Kind::Sse, 2), (Kind::WebSocket, 1)]);
    let second = Load::start(h2.addr, &[(Kind::GrpcUnary, 2), (Kind::GrpcBidi, 2)]);
    let mut switches = Vec::new();
    for to in ["green", "blue"].repeat(5) {
        first.more(30).await;
        second.more(10).await;
        let called = std::time::Instant::now();
        set.proxy.switch(to).await;
        switches.push(Switch { to: to.to_owned(), called, returned: std::time::Instant::now() });
    }
    let mut samples = first.finish().await;
    samples.extend(second.finish().await);
    assert_no_failures(&samples);
    assert_none_stale("blue", &switches, &samples);
}

/// Fails when: sessions are not resumed, which costs every client a whole handshake for each connection.
#[tokio::test]
async fn sessions_are_resumed() {
    let Set { ca, proxy, .. } = set(|_, config| config).await;
    let config = ca.client().alpn(&["http/1.1"]).config();
    let name = || rustls::pki_types::ServerName::try_from("iris.test").unwrap();
    for (round, kind) in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed].into_iter().enumerate() {
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let stream = TcpStream::connect(proxy.addr).await.unwrap();
        let mut stream = connector.connect(name(), stream).await.unwrap();
        // Tickets come with the answer.
        stream.write_all(b"GET / HTTP/1.1\r\nHost: iris.test\r\nConnection: close\r\n\r\n").await.unwrap();
        rest(&mut stream).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "round {round}");
        assert!(!shown(&stream).is_empty());
    }
}
