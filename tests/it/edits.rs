//! `[service.request]` and `[service.answer]`: what is changed in a message on its way, as it stands on the wire.

use http::Request;

use crate::support::{
    client::{get, request},
    config::{Config, Service},
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::{Origin, Reuse},
    proxy::Proxy,
    wait::until_true,
    websocket::WebSocket,
    wire::{find, value, values},
};

struct Set {
    blue: Origin,
    green: Origin,
    grpc: GrpcOrigin,
    proxy: Proxy,
}

/// A service with these tables; its blue slot speaks HTTP/1.1 and gRPC.
async fn set(tables: &str) -> Set {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let grpc = GrpcOrigin::start("blue").await;
    let mut service = Service::new("iris", "", &green.url());
    service.blue = format!("{{ http = \"{}\", grpc = \"{}\" }}", blue.url(), grpc.url());
    service.tables = tables.to_owned();
    let proxy = Proxy::ready(&Config::new(vec![service])).await;
    Set { blue, green, grpc, proxy }
}

const REQUEST_EDITS: &str = "[service.request]\nremove = [\"x-gone\", \"Authorization\"]\n\
    set = { X-Tenant = \"acme\", x-forwarded-proto = \"https\", x-gone = \"back\" }\nadd = { x-tag = \"ours\" }";

/// Fails when: an edit is not made, is made before the proxy's own fields are set, or anything else is changed.
#[tokio::test]
async fn fields_of_requests_are_edited() {
    let Set { blue, grpc, proxy, green: _green } = set(REQUEST_EDITS).await;
    let fields =
        "X-Gone: 1\r\nx-gone: 2\r\nauthorization: Bearer x\r\nx-TENANT: evil\r\nX-Tag: theirs\r\nX-Stays: 1\r\n";
    assert_eq!(proxy.once(&request("GET", "/a", fields, b"")).await.status, 200);
    let sent = blue.only_request();
    for (name, expected) in [
        ("x-gone", &["back"][..]),
        ("authorization", &[]),
        ("x-tenant", &["acme"]),
        ("x-tag", &["theirs", "ours"]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-stays", &["1"]),
    ] {
        assert_eq!(values(&sent.fields, name), expected, "{name}");
    }
    assert!(find(&sent.head, b"\r\nX-Stays: 1\r\n").is_some(), "the case of other names is kept");

    let channel = Channel::open(proxy.addr).await;
    assert_eq!(channel.call("Unary", &["x"]).await.grpc_status().as_deref(), Some("0"));
    assert_eq!(grpc.metadata("x-tenant").as_deref(), Some("acme"), "and for gRPC");
    assert_eq!(grpc.metadata("te").as_deref(), Some("trailers"));
}

const ANSWER_EDITS: &str = "[service.answer]\nremove = [\"x-colour\"]\n\
    set = { Server = \"models\", x-request-id = \"forged\", x-verdigris-slot = \"forged\" }\nadd = { vary = \"x-tenant\" }";

/// Fails when: an answer's fields are not edited, or an edit changes what the proxy says of an answer.
#[tokio::test]
async fn fields_of_answers_are_edited() {
    let Set { proxy, blue: _blue, grpc: _grpc, green: _green } = set(ANSWER_EDITS).await;
    let hex: String =
        "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nX-Colour: blue\r\nVary: origin\r\nContent-Length: 2\r\n\r\nok"
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
    let answer = proxy.once(&request("GET", &format!("/?do=raw&hex={hex}"), "x-request-id: mine\r\n", b"")).await;
    for (name, expected) in [
        ("x-colour", &[][..]),
        ("server", &["models"]),
        ("vary", &["origin", "x-tenant"]),
        ("x-request-id", &["mine"]),
        ("x-verdigris-slot", &["blue"]),
    ] {
        assert_eq!(answer.fields(name), expected, "{name}");
    }
    assert_eq!(answer.text(), "ok");

    let reply = Channel::open(proxy.addr).await.call("Unary", &["x"]).await;
    assert_eq!((reply.header("server").as_deref(), reply.header("x-colour")), (Some("models"), None));
    assert_eq!(reply.grpc_status().as_deref(), Some("0"));
    let socket = WebSocket::open(proxy.addr).await;
    assert_eq!((socket.head.field("server").as_deref(), socket.head.field("x-colour")), (Some("models"), None));
}

/// Fails when: an answer that the proxy makes itself is edited, so that it can no longer be told.
#[tokio::test]
async fn the_proxys_own_answers_are_not_edited() {
    let tables =
        "[service.request]\nbody_max = 3\n[service.answer]\nset = { x-mark = \"1\" }\nremove = [\"content-type\"]";
    let Set { proxy, blue: _blue, grpc: _grpc, green: _green } = set(tables).await;
    let answer = proxy.once(&request("POST", "/", "", b"long")).await;
    assert_eq!((answer.status, answer.field("x-mark")), (413, None));
    assert_eq!(answer.field("content-type").as_deref(), Some("application/json"));
}

/// Fails when: the server gets the client's host, or is not told it, over either protocol.
#[tokio::test]
async fn the_host_is_rewritten() {
    let Set { blue, grpc, proxy, green: _green } = set("[service.request]\nhost = \"model.internal:8000\"").await;
    proxy.once(&get("/a")).await;
    proxy.once(b"GET http://iris.test:81/b HTTP/1.1\r\nhost: other.test\r\n\r\n").await;
    proxy.once(b"GET /c HTTP/1.0\r\n\r\n").await;
    let sent = blue.requests();
    let seen: Vec<_> =
        sent.iter().map(|sent| (values(&sent.fields, "host"), value(&sent.fields, "x-forwarded-host"))).collect();
    let host = || vec!["model.internal:8000".to_owned()];
    assert_eq!(
        seen,
        [(host(), Some("iris.test".to_owned())), (host(), Some("iris.test:81".to_owned())), (host(), None)]
    );
    let channel = Channel::open(proxy.addr).await;
    assert_eq!(channel.call("Unary", &["x"]).await.grpc_status().as_deref(), Some("0"));
    assert_eq!(*grpc.shared.target.lock().unwrap(), "model.internal:8000 /test.Echo/Unary");
    assert_eq!(grpc.metadata("x-forwarded-host"), Some(proxy.addr.to_string()));
    assert_eq!(grpc.metadata("host"), None);
}

/// Fails when: part of a segment comes off, the rest is changed, or the query is lost.
#[tokio::test]
async fn a_prefix_comes_off() {
    let Set { blue, grpc, proxy, green: _green } = set("[service.request]\nstrip_prefix = \"/iris\"").await;
    let table = [
        ("/iris", "/", true),
        ("/iris?a=/iris/b", "/?a=/iris/b", true),
        ("/iris/v2/models/%69ris/a%2Fb?x=%20+&&", "/v2/models/%69ris/a%2Fb?x=%20+&&", true),
        ("/iris/iris", "/iris", true),
        ("/iris2/x", "/iris2/x", false),
        ("/iris:predict", "/iris:predict", false),
        ("/other/iris", "/other/iris", false),
    ];
    let mut conn = proxy.conn().await;
    for (target, _, _) in table {
        assert_eq!(conn.call(&get(target)).await.status, 200, "{target}");
    }
    for (sent, (target, left, stripped)) in blue.requests().iter().zip(table) {
        let line = format!("GET {left} HTTP/1.1\r\n");
        assert!(sent.head.starts_with(line.as_bytes()), "{target}: {}", String::from_utf8_lossy(&sent.head));
        let told = value(&sent.fields, "x-forwarded-prefix");
        assert_eq!(told.as_deref(), stripped.then_some("/iris"), "{target}");
    }

    let channel = Channel::open(proxy.addr).await;
    let call = Request::post(channel.uri("/iris/test.Echo/Unary")).header("content-type", "application/grpc");
    let (response, _body) = channel.request(call.body(()).unwrap(), true).await.unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert!(grpc.shared.target.lock().unwrap().ends_with(" /test.Echo/Unary"));
    assert_eq!(grpc.metadata("x-forwarded-prefix").as_deref(), Some("/iris"));
}

/// Fails when: what is inference is decided by a path that the server never sees.
#[tokio::test]
async fn the_path_that_the_server_sees_decides_the_replay() {
    let Set { blue, proxy, grpc: _grpc, green: _green } = set("[service.request]\nstrip_prefix = \"/infer\"").await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/warm")).await.status, 200);
    blue.reuse(Reuse::DropEvery(1));
    let refused = conn.call(&request("POST", "/infer", "", b"x")).await;
    assert_eq!((refused.status, refused.error().as_deref()), (502, Some("upstream_closed")), "the server saw POST /");
    blue.reuse(Reuse::Keep);
    assert_eq!(conn.call(&get("/warm")).await.status, 200);
    blue.reuse(Reuse::DropEvery(1));
    let replayed = conn.call(&request("POST", "/infer/infer", "", b"x")).await;
    assert_eq!((replayed.status, &replayed.json()["target"]), (200, &"/infer".into()));
}

/// Fails when: a request that has to move to another slot is routed by what was made of it, or changed twice.
#[tokio::test]
async fn a_request_that_moves_on_is_changed_once() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let mut service =
        Service::new("iris", &blue.url(), &green.url()).rule("host = \"iris.test\", path_prefix = \"/iris\"");
    service.tables =
        "[service.request]\nhost = \"model.internal\"\nstrip_prefix = \"/iris\"\nadd = { x-tag = \"ours\" }".into();
    let proxy = Proxy::ready(&Config::new(vec![service])).await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/iris/warm")).await.status, 200);
    conn.send(&get("/iris/iris/x?do=held")).await;
    until_true("the request at blue", || blue.hits() == 2).await;
    proxy.switch("green").await;
    green.step();
    blue.kill().await;
    assert_eq!(conn.answer().await.colour(), "green");
    let sent = green.only_request();
    assert_eq!(sent.target, "/iris/x?do=held");
    assert_eq!(values(&sent.fields, "x-tag"), ["ours"]);
    assert_eq!(values(&sent.fields, "x-forwarded-prefix"), ["/iris"]);
    assert_eq!(values(&sent.fields, "host"), ["model.internal"]);
}

/// Fails when: the proxy answers for the server in matters of CORS, or touches what the two say to each other.
#[tokio::test]
async fn cors_is_left_alone() {
    let Set { blue, proxy, grpc: _grpc, green: _green } = set("").await;
    let asked = [
        ("Origin", "https://app.example.org"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-tenant"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    let said = [
        ("Access-Control-Allow-Origin", "https://app.example.org"),
        ("Access-Control-Allow-Methods", "POST, GET"),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "x-a"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    ];
    let lines =
        |list: &[(&str, &str)]| list.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
    for (status, method) in [("204 No Content", "OPTIONS"), ("200 OK", "POST"), ("403 Forbidden", "OPTIONS")] {
        let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
        let raw = format!("HTTP/1.1 {status}\r\n{}{length}\r\n", lines(&said));
        let hex: String = raw.bytes().map(|byte| format!("{byte:02x}")).collect();
        let answer = proxy.once(&request(method, &format!("/?do=raw&hex={hex}"), &lines(&asked), b"")).await;
        assert_eq!(answer.status.to_string(), status[..3]);
        for (name, value) in said {
            assert_eq!(answer.fields(name), [value], "{method} {name}");
        }
    }
    for sent in blue.requests() {
        for (name, expected) in asked {
            assert_eq!(values(&sent.fields, name), [expected], "{name}");
        }
    }
    assert_eq!(blue.hits(), 3, "every preflight reached the server");
}
