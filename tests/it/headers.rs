//! Header fields on their way through, as they stand on the wire.

use crate::support::{
    client::{get, request},
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wire::{find, value, values},
};

async fn pair() -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    (blue, green, proxy)
}

fn raw(answer: &str) -> Vec<u8> {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    get(&format!("/?do=raw&then=keep&hex={hex}"))
}

/// Fails when: a hop-by-hop field, or one that `Connection` names, reaches the server.
#[tokio::test]
async fn hop_by_hop_fields_of_a_request_end_here() {
    let (blue, _green, proxy) = pair().await;
    let fields = "connection: keep-alive, X-Hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\nproxy-connection: keep-alive\r\n\
                  te: gzip, trailers\r\nx-stays: 1\r\n";
    assert_eq!(proxy.once(&request("GET", "/", fields, b"")).await.status, 200);
    let sent = blue.only_request();
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(value(&sent.fields, name), None, "{name}");
    }
    let connection = value(&sent.fields, "connection").unwrap_or_default();
    assert!(!connection.to_ascii_lowercase().contains("x-hop"), "{connection}");
    assert_eq!(value(&sent.fields, "te").as_deref(), Some("trailers"));
    assert_eq!(value(&sent.fields, "x-stays").as_deref(), Some("1"));
}

/// Fails when: a client can have the proxy's own fields, or the message's framing, taken away by naming them.
#[tokio::test]
async fn a_client_cannot_strip_what_the_proxy_adds() {
    let (blue, _green, proxy) = pair().await;
    let fields = "connection: close, x-forwarded-for, x-request-id, content-length, host\r\n";
    assert_eq!(proxy.once(&request("POST", "/", fields, b"abc")).await.json()["body_len"], 3);
    let sent = blue.only_request();
    assert_eq!(value(&sent.fields, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert!(value(&sent.fields, "x-request-id").is_some_and(|id| id.len() >= 16));
    assert_eq!(value(&sent.fields, "host").as_deref(), Some("iris.test"));
}

/// Fails when: a hop-by-hop field of the server's reaches the client, or its close becomes the client's.
#[tokio::test]
async fn hop_by_hop_fields_of_an_answer_end_here() {
    let (_blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let answer = conn
        .call(&raw("HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5, max=100\r\ncontent-length: 2\r\n\r\nok"))
        .await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert!(conn.still_serves().await);
}

/// Fails when: the server is not told who asked.
#[tokio::test]
async fn the_server_learns_of_the_client() {
    let (blue, _green, proxy) = pair().await;
    proxy.once(&get("/")).await;
    proxy.once(&request("GET", "/", "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n", b"")).await;
    let sent = blue.requests();
    let field = |index: usize, name: &str| value(&sent[index].fields, name);
    assert_eq!(field(0, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(field(0, "x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(field(0, "x-forwarded-host").as_deref(), Some("iris.test"));
    assert_eq!(field(0, "host").as_deref(), Some("iris.test"), "the client's Host is the server's");
    assert_eq!(field(1, "x-forwarded-for").as_deref(), Some("127.0.0.1"), "a stranger's word is not passed on");
}

/// Fails when: an id is not passed on, not echoed, not unique, or taken over though it cannot be logged safely.
#[tokio::test]
async fn every_request_has_one_id_on_both_sides() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let given = conn.call(&request("GET", "/", "X-Request-Id: abc-123\r\n", b"")).await;
    assert_eq!(given.fields("x-request-id"), ["abc-123"]);
    let made = conn.call(&get("/")).await.field("x-request-id").unwrap();
    let other = conn.call(&get("/")).await.field("x-request-id").unwrap();
    let strange =
        conn.call(&request("GET", "/", "x-request-id: has space\r\n", b"")).await.field("x-request-id").unwrap();
    assert!(made.len() >= 16 && made != other && strange != "has space", "{made} {other} {strange}");
    let ids: Vec<_> = blue.requests().iter().map(|sent| values(&sent.fields, "x-request-id")).collect();
    assert_eq!(ids, [["abc-123".to_owned()], [made], [other], [strange]]);
}

/// Fails when: names are changed to lower case on the way from HTTP/1.1 to HTTP/1.1.
#[tokio::test]
async fn the_case_of_names_is_kept() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    conn.send(&request("GET", "/", "X-MiXeD: 1\r\nAuthorization: Bearer x\r\n", b"")).await;
    let head = conn.head().await;
    assert!(find(&head.bytes, b"\r\nContent-Type: application/json\r\n").is_some(), "{:?}", head.bytes);
    conn.rest(head).await;
    let sent = blue.only_request();
    assert!(find(&sent.head, b"\r\nX-MiXeD: 1\r\n").is_some(), "{:?}", String::from_utf8_lossy(&sent.head));
    assert!(find(&sent.head, b"\r\nAuthorization: Bearer x\r\n").is_some());
}

/// Fails when: repeated fields are joined or thinned out, or empty ones dropped.
#[tokio::test]
async fn repeated_and_empty_values_are_kept() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let answer = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: \r\nAccess-Control-Allow-Origin: \r\nset-cookie: a=1\r\n\
                  Set-Cookie: b=2\r\nx-bytes: caf\u{e9}\r\ncontent-length: 0\r\n\r\n";
    let answer = conn.call(&raw(answer)).await;
    assert_eq!(answer.fields("access-control-allow-origin"), ["", ""]);
    assert_eq!(answer.fields("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.fields("x-bytes"), ["caf\u{e9}"]);
    conn.call(&request("GET", "/", "x-empty:\r\nx-many: 1\r\nx-many: 2\r\n", b"")).await;
    let sent = blue.requests().pop().unwrap();
    assert_eq!(values(&sent.fields, "x-empty"), [""]);
    assert_eq!(values(&sent.fields, "x-many"), ["1", "2"]);
}

/// Fails when: the marks are missing, doubled by a server's own, or a server can pass its answer off as the proxy's.
#[tokio::test]
async fn answers_are_marked_with_slot_and_version() {
    let (blue, _green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    let forged = "HTTP/1.1 200 OK\r\nx-verdigris-slot: green\r\nx-verdigris-version: v9\r\nx-verdigris-error: no_service\r\n\
                  x-request-id: forged\r\ncontent-length: 0\r\n\r\n";
    for request in [get("/"), get("/?code=503"), raw(forged)] {
        let answer = conn.call(&request).await;
        assert_eq!(answer.fields("x-verdigris-slot"), ["blue"]);
        assert_eq!(answer.fields("x-verdigris-version"), ["v-blue"]);
        assert_eq!((answer.error(), answer.fields("x-request-id").len()), (None, 1));
        assert_ne!(answer.field("x-request-id").as_deref(), Some("forged"));
    }
    assert_eq!(conn.call(&get("/?code=503")).await.status, 503, "a server's own failure passes as it is");
    assert_eq!(value(&blue.requests()[0].fields, "x-verdigris-slot"), None, "the marks are for clients");
}

/// Fails when: the target's bytes are decoded, folded or normalised.
#[tokio::test]
async fn targets_pass_unchanged() {
    let (blue, _green, proxy) = pair().await;
    let targets = ["/a%2Fb/%7euser//c/../d?q=%20+&&x", "/a;b=c/:predict", "/?", "/%E4%BD%A0"];
    let mut conn = proxy.conn().await;
    for target in targets {
        assert_eq!(conn.call(&get(target)).await.status, 200, "{target}");
    }
    conn.call(b"GET http://iris.test/absolute?x HTTP/1.1\r\nhost: other.test\r\n\r\n").await;
    let sent: Vec<_> = blue.requests().into_iter().map(|sent| sent.target).collect();
    assert_eq!(sent, targets.into_iter().chain(["/absolute?x"]).collect::<Vec<_>>());
    assert_eq!(value(&blue.requests()[4].fields, "host").as_deref(), Some("iris.test"));
}

/// Fails when: methods that the proxy does not know are refused.
#[tokio::test]
async fn unknown_methods_pass() {
    let (blue, _green, proxy) = pair().await;
    for method in ["PATCH", "PROPFIND", "BREW"] {
        assert_eq!(proxy.once(&request(method, "/", "", b"x")).await.status, 200, "{method}");
    }
    assert_eq!(blue.requests()[2].method, "BREW");
}
