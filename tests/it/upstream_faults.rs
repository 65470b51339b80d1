//! What goes wrong upstream is told by one answer with its kind, or is cut as visibly as it broke.

use std::time::Duration;

use http::Request;
use tokio::net::TcpListener;

use crate::support::{
    client::{Answer, get},
    config::{Config, Service},
    grpc::Channel,
    origin::Origin,
    proxy::Proxy,
    wait::{until, within},
};

async fn pair(tables: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = tables.to_owned());
    let proxy = Proxy::ready(&config).await;
    (blue, green, proxy)
}

fn assert_error(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, answer.error().as_deref()), (status, Some(kind)), "{}", answer.text());
    let json = answer.json();
    assert_eq!(
        (json["error"].as_str(), json["request_id"].as_str()),
        (Some(kind), answer.field("x-request-id").as_deref())
    );
    assert!(json["message"].as_str().is_some_and(|text| text.len() > 8), "{json}");
    assert_eq!(answer.field("x-verdigris-slot").as_deref(), Some("blue"), "and says which slot it is about");
}

fn raw(answer: &str) -> Vec<u8> {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    get(&format!("/?do=raw&hex={hex}"))
}

/// Fails when: a failure has another status or kind, no JSON body, or spoils the client's connection.
#[tokio::test]
async fn each_failure_has_its_answer() {
    // Only the server that hangs is to meet a time limit: a busy machine makes others slow, too.
    let (_blue, _green, hasty) = pair("[service.timeouts]\nfirst_byte = \"150ms\"").await;
    assert_error(&hasty.once(&get("/?do=hang")).await, 504, "upstream_timeout");
    let (blue, _green, proxy) = pair("").await;
    let mut conn = proxy.conn().await;
    for (request, status, kind) in [
        (get("/?do=close"), 502, "upstream_closed"),
        (get("/?do=reset"), 502, "upstream_closed"),
        (raw("this is not HTTP\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 20x OK\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 2000 OK\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 200 OK\r\nno colon here\r\ncontent-length: 0\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 200 OK\r\nspace : before\r\ncontent-length: 0\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 101 Switching\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n"), 502, "upstream_malformed"),
        (raw("HTTP/1.1 200 OK\r\nx-half: "), 502, "upstream_closed"),
    ] {
        let text = String::from_utf8_lossy(&request).into_owned();
        let answer = conn.call(&request).await;
        assert_eq!(answer.error().as_deref(), Some(kind), "{text} {}", answer.text());
        assert_error(&answer, status, kind);
    }
    assert_eq!(conn.call(&get("/")).await.colour(), "blue", "the client's connection is none the worse");
    assert!(proxy.metric("verdigris_request_failures_total", &["kind=\"upstream_malformed\""]).await >= 7.0);
    drop(blue);
}

/// Fails when: a refused connection is told late, or a server that comes back is not found again.
#[tokio::test]
async fn a_refused_connection_is_told_and_a_server_that_comes_back_is_found() {
    let (blue, _green, proxy) = pair("").await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    blue.kill().await;
    assert_error(&conn.call(&get("/")).await, 502, "upstream_connect");
    let again = Origin::on(TcpListener::bind(blue.addr).await.unwrap(), "blue again");
    until("the server to be found again", || async {
        let answer = proxy.once(&get("/")).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    drop(again);
}

/// Fails when: a server that swallows connection attempts holds the client for longer than `connect`.
#[tokio::test]
async fn a_connection_that_is_never_made_times_out() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    // Fill the queue; from then on the kernel drops whoever asks.
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        filling.push(stream);
    }
    let mut service = Service::new("iris", &format!("http://{addr}"), "");
    service.tables = "[service.timeouts]\nconnect = \"200ms\"".to_owned();
    let proxy = Proxy::start(&Config::new(vec![service])).await;
    assert_error(&proxy.once(&get("/")).await, 504, "upstream_connect_timeout");
}

/// Fails when: an answer that broke off looks complete to a client of either protocol.
#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_visibly() {
    let (blue, _green, proxy) = pair("").await;
    let channel = Channel::open(proxy.addr).await;
    for query in ["frame=length&how=fin", "frame=chunked&how=fin", "frame=length&how=rst", "frame=chunked&how=rst"] {
        let target = format!("/?do=die&{query}");
        let mut conn = proxy.conn().await;
        conn.send(&get(&target)).await;
        let head = conn.head().await;
        assert_eq!(head.status, 200);
        blue.step();
        let end = within("the cut", conn.try_rest(head)).await;
        assert!(end.is_err(), "{query}: {end:?}");

        let request = Request::get(channel.uri(&target)).body(()).unwrap();
        let (response, _send) = channel.request(request, true).await.unwrap();
        let mut body = within("the head", response).await.unwrap().into_body();
        blue.step();
        let end = within("the cut", async {
            loop {
                match body.data().await {
                    Some(Ok(data)) => assert_eq!(data.as_ref(), b"hello"),
                    other => return other,
                }
            }
        })
        .await;
        let Some(Err(error)) = end else { panic!("{query}: a clean end over HTTP/2") };
        assert!(error.is_reset() && error.reason() != Some(h2::Reason::NO_ERROR), "{query}: {error:?}");
    }
    let garbage = raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    let mut conn = proxy.conn().await;
    conn.send(&garbage).await;
    let head = conn.head().await;
    assert!(within("the cut", conn.try_rest(head)).await.is_err(), "a broken chunk is no end");
}

/// Fails when: the limit of the first byte cuts a stream that flows, or ends before a slow answer may come.
#[tokio::test]
async fn the_first_byte_limit_cuts_no_stream() {
    let (_blue, _green, proxy) = pair("[service.timeouts]\nfirst_byte = \"200ms\"").await;
    let mut conn = proxy.conn().await;
    conn.send(&get("/?do=sse&n=6&every=90")).await;
    assert_eq!(conn.head().await.status, 200);
    let mut tokens = 0;
    while conn.event().await.is_some() {
        tokens += 1;
    }
    assert_eq!(tokens, 7);
}

/// Fails when: a stray byte after an answer is taken for the start of the next one.
#[tokio::test]
async fn a_connection_with_stray_bytes_is_not_used_again() {
    let (_blue, _green, proxy) = pair("").await;
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{\"stray\": true} 30 bytes more";
    let hex: String = stray.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut conn = proxy.conn().await;
    for _ in 0..10 {
        let answer = conn.call(&get(&format!("/?do=raw&then=keep&hex={hex}"))).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    }
}

/// Framing that is allowed and rare. Fails when: an interim answer is taken for the final one, two framings are passed
/// on together, or the end of an answer that ends with its connection is taken for a cut.
#[tokio::test]
async fn rare_framings_pass() {
    let (_blue, _green, proxy) = pair("").await;
    let mut conn = proxy.conn().await;
    for (answer, text) in [
        ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the close", "until the close"),
        ("HTTP/1.0 200 OK\r\n\r\nfrom the past", "from the past"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", "hello"),
    ] {
        let whole = conn.call(&raw(answer)).await;
        assert_eq!((whole.status, whole.text().as_str()), (200, text), "{answer:?} {:?}", whole.error());
    }
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = conn.call(&raw(both)).await;
    let framings = [answer.field("content-length"), answer.field("transfer-encoding")];
    assert!(answer.status == 502 || (answer.text() == "hello" && framings.iter().flatten().count() == 1), "{answer:?}");
    assert!(conn.still_serves().await);
}

/// Fails when: an old client gets chunks it cannot read, or its connection is kept although it did not ask for that.
#[tokio::test]
async fn http10_clients_are_served_in_their_way() {
    let (_blue, _green, proxy) = pair("").await;
    let mut conn = proxy.conn().await;
    conn.send(b"GET /?do=sse&n=2 HTTP/1.0\r\nhost: iris.test\r\n\r\n").await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.field("transfer-encoding")), (200, None));
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    let mut conn = proxy.conn().await;
    conn.send(b"GET / HTTP/1.0\r\nhost: iris.test\r\n\r\n").await;
    assert_eq!(conn.answer().await.colour(), "blue");
    assert!(conn.is_closed().await);
}
