//! The PROXY protocol, versions 1 and 2: whose word is taken, where a header ends, and what is done with a bad one.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    client::get,
    config::Config,
    origin::Origin,
    proxy::Proxy,
    tls::Authority,
    wait::{until, within},
    wire::{Wire, value},
};

struct Set {
    blue: Origin,
    proxy: Proxy,
    config: Config,
    _green: Origin,
}

/// A proxy that takes PROXY headers from these networks.
async fn set(networks: &str, tables: &str) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let mut config = Config::pair(&blue, &green).tables(tables);
    config.listen = listen(networks);
    let proxy = Proxy::ready(&config).await;
    Set { blue, proxy, config, _green: green }
}

/// The list stands where the file has it, beside `listen`.
fn listen(networks: &str) -> String {
    format!("127.0.0.1:0\"\naccess_log = \"access.log\"\nproxy_protocol = [{networks}]\n#")
}

const LOOPBACK: &str = "\"127.0.0.0/8\"";

impl Set {
    /// The client that the server was told of, for a connection that begins with these bytes.
    async fn told(&self, header: &[u8]) -> Option<String> {
        let mut conn = self.proxy.conn().await;
        let before = self.blue.requests().len();
        conn.send(&[header, &get("/")].concat()).await;
        assert_eq!(conn.answer().await.status, 200);
        value(&self.blue.requests()[before].fields, "x-forwarded-for")
    }

    async fn until_refused(&self, count: f64) {
        until("bad headers to be counted", || async {
            let labels = ["kind=\"proxy_header\""];
            let counted = self.proxy.metric("verdigris_connection_failures_total", &labels).await;
            if counted == count { Ok(()) } else { Err(counted) }
        })
        .await;
    }
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    [V2, &[0x20 | command, family], &u16::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

fn v4() -> Vec<u8> {
    binary(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80])
}

/// Fails when: in `net::open`, the header's client is not taken over, or the balancer's own connections are not its
/// own; in `proxy::worker`, the address of the socket is told.
#[tokio::test]
async fn the_header_says_who_the_client_is() {
    let set = set(LOOPBACK, "").await;
    let v6: std::net::Ipv6Addr = "2001:db8::9".parse().unwrap();
    let v6 = binary(1, 0x21, &[&v6.octets()[..], &[0; 16], &[1, 2, 3, 4, 0x04, 0, 3, 1, 2, 3]].concat());
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v4(), "192.0.2.7"),
        (v6, "2001:db8::9"),
        (binary(0, 0, &[]), "127.0.0.1"),
    ] {
        assert_eq!(set.told(&header).await.as_deref(), Some(client), "{header:?}");
    }
    until("the access log", || async {
        let log = std::fs::read_to_string(set.proxy.dir.path().join("access.log")).unwrap_or_default();
        if log.contains("192.0.2.1") && log.contains("2001:db8::9") { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Fails when: a header that comes in pieces, or together with what follows, is misread, or bytes behind it are lost.
#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let set = set(LOOPBACK, "").await;
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), v4()] {
        for pieces in [1, 7, 30] {
            let mut conn = set.proxy.conn().await;
            let before = set.blue.requests().len();
            for piece in [&header[..], &get("/")].concat().chunks(pieces) {
                conn.send(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(conn.answer().await.status, 200);
            assert!(conn.still_serves().await, "the header comes once");
            let told = value(&set.blue.requests()[before].fields, "x-forwarded-for");
            assert_eq!(told.as_deref(), Some("192.0.2.7"));
        }
    }
}

/// All that is answered until the connection ends.
async fn answered(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The peer may have closed before it has read everything.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    within("the end", stream.read_to_end(&mut answer)).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Fails when: a connection without a right header is served, answered, kept, or not counted; or a header of any length
/// is waited for.
#[tokio::test]
async fn a_bad_header_ends_the_connection() {
    let set = set(LOOPBACK, "[proxy.limits]\nheader_timeout = \"300ms\"").await;
    let bad = [
        get("/"),
        b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN ".iter().copied().chain(std::iter::repeat_n(b'x', 200)).collect(),
        binary(1, 0x51, &[0; 12]),
        binary(1, 0x11, &[0; 4096]),
        // Half of one, and then nothing more.
        b"PROXY TCP4 192.0.2.1".to_vec(),
        V2.to_vec(),
    ];
    for (index, bytes) in bad.iter().enumerate() {
        assert_eq!(answered(set.proxy.addr, bytes).await, "", "{bytes:?}");
        set.until_refused((index + 1) as f64).await;
    }
    // A balancer that only looks whether somebody listens is no failure.
    drop(TcpStream::connect(set.proxy.addr).await.unwrap());
    assert_eq!(set.told(&v4()).await.as_deref(), Some("192.0.2.7"));
    set.until_refused(bad.len() as f64).await;
    assert_eq!(set.blue.requests().len(), 1);
}

/// Fails when: anybody can choose an address for itself.
#[tokio::test]
async fn from_others_a_header_is_no_http() {
    let set = set("\"192.0.2.0/24\"", "").await;
    for header in [b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), v4()] {
        let answer = answered(set.proxy.addr, &[&header[..], &get("/")].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    }
    assert_eq!(set.proxy.once(&get("/")).await.status, 200);
    assert_eq!(set.blue.requests().len(), 1);
}

/// Fails when: a new list waits for a restart, or changes connections that are open.
#[tokio::test]
async fn the_list_changes_at_a_reload() {
    let set = set("", "").await;
    let mut before = set.proxy.conn().await;
    assert_eq!(before.call(&get("/")).await.status, 200);
    let config = Config { listen: listen(LOOPBACK), ..set.config.clone() };
    std::fs::write(set.proxy.config_path(), config.text()).unwrap();
    let reply = set.proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!((reply.status, &reply.json["needs_restart"]), (200, &serde_json::json!([])), "{}", reply.text);
    until("the list to be in force", || async {
        // A worker may take a client before it takes the order.
        let answer = answered(set.proxy.addr, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        if answer.is_empty() { Ok(()) } else { Err(answer) }
    })
    .await;
    assert!(before.still_serves().await);
}

/// Fails when: TLS behind the header loses bytes that came with it, or the client's address.
#[tokio::test]
async fn tls_comes_after_the_header() {
    let ca = Authority::new("a CA");
    let set = set(LOOPBACK, &ca.table()).await;
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), v4()] {
        for with_hello in [true, false] {
            let (mut near, far) = tokio::io::duplex(1 << 16);
            let tls = tokio::spawn(relayed(far, set.proxy.addr, header.clone(), with_hello));
            let config = ca.client().alpn(&["http/1.1"]).config();
            let name = rustls::pki_types::ServerName::try_from("iris.test").unwrap();
            let connector = tokio_rustls::TlsConnector::from(config);
            let mut stream = within("a handshake", connector.connect(name, &mut near)).await.unwrap();
            let before = set.blue.requests().len();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: iris.test\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let sent = &set.blue.requests()[before];
            assert_eq!(value(&sent.fields, "x-forwarded-for").as_deref(), Some("192.0.2.7"));
            assert_eq!(value(&sent.fields, "x-forwarded-proto").as_deref(), Some("https"));
            tls.abort();
        }
    }
}

/// Passes bytes on behind a header, which goes out alone or in one write with the first of them.
async fn relayed(mut from: tokio::io::DuplexStream, to: SocketAddr, header: Vec<u8>, together: bool) {
    let mut wire = Wire::connect(to).await.unwrap();
    let mut first = header;
    if together {
        from.read_buf(&mut first).await.unwrap();
    }
    wire.send(&first).await.unwrap();
    tokio::io::copy_bidirectional(&mut from, &mut wire.stream).await.ok();
}

/// Fails when: HTTP/2 by prior knowledge is not recognised behind a header.
#[tokio::test]
async fn h2_comes_after_the_header() {
    let set = set(LOOPBACK, "").await;
    let mut stream = TcpStream::connect(set.proxy.addr).await.unwrap();
    stream.write_all(&v4()).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::get("http://iris.test/").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    assert_eq!(value(&set.blue.requests()[0].fields, "x-forwarded-for").as_deref(), Some("192.0.2.7"));
}
