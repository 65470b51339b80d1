//! The preview: `x-verdigris-slot` of an allowed caller goes to that slot before the switch, and to no other one.
//!
//! Here: who may, and what of it a server sees. `tenures` has what runs, drains and is refused.

mod tenures;

use std::fs;

use crate::support::{
    binary::{Binary, with_own_addresses},
    client::{Answer, get, request},
    config::Config,
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::Origin,
    proxy::Proxy,
    wait::until,
    websocket::handshake,
    wire::value,
};

const TOKEN: &str = "s3cret-of-the-previews";
const GREEN: &str = "x-verdigris-slot: green\r\n";
const BY_NETWORK: &str = "[service.preview]\nallow = [\"10.0.0.0/8\", \"127.0.0.0/8\"]";
/// Loopback is not in the list.
const BY_TOKEN: &str = "[service.preview]\nallow = [\"10.0.0.0/8\"]\ntoken_file = \"preview.token\"";

/// Blue serves, green stands by.
struct Pair {
    blue: Origin,
    green: Origin,
    proxy: Proxy,
}

async fn pair(tables: &str) -> Pair {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = tables.to_owned());
    let proxy = start(&config).await;
    Pair { blue, green, proxy }
}

/// Starts with a token file beside the config, and waits until all endpoints are healthy.
async fn start(config: &Config) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("preview.token"), format!("{TOKEN}\n")).unwrap();
    fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    proxy
}

impl Pair {
    async fn ask(&self, fields: &str) -> Answer {
        self.proxy.once(&request("GET", "/", fields, b"")).await
    }

    /// A preview must be served by this slot, and say so.
    async fn assert_served_by(&self, slot: &str, fields: &str) {
        let answer = self.ask(fields).await;
        assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
        assert_eq!(answer.colour(), slot, "{fields:?}");
        assert_eq!(answer.field("x-verdigris-slot").as_deref(), Some(slot), "{fields:?}");
        assert_eq!(answer.field("x-verdigris-version"), Some(format!("v-{slot}")), "{fields:?}");
    }

    async fn assert_refused(&self, status: u16, kind: &str, fields: &str) -> Answer {
        let hits = (self.blue.hits(), self.green.hits());
        let answer = self.ask(fields).await;
        assert_eq!((answer.status, answer.error().as_deref()), (status, Some(kind)), "{fields:?}: {}", answer.text());
        assert_eq!(answer.json()["error"], kind);
        assert_eq!((self.blue.hits(), self.green.hits()), hits, "nobody was asked: {fields:?}");
        assert!(!answer.text().contains(TOKEN));
        answer
    }

    async fn reload(&self, tables: &str) {
        let config = Config::pair(&self.blue, &self.green).service(|service| service.tables = tables.to_owned());
        fs::write(self.proxy.config_path(), config.text()).unwrap();
        let reply = self.proxy.admin.call("POST", "/v1/config/reload", None).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

/// Fails when: in `proxy::assign`, `first` does not ask `preview`; in `proxy::preview`, `may_choose` ignores the list.
#[tokio::test]
async fn an_allowed_network_reaches_green_before_the_switch_and_after_it() {
    let pair = pair(BY_NETWORK).await;
    pair.assert_served_by("green", GREEN).await;
    pair.assert_served_by("blue", "").await;
    pair.assert_served_by("blue", "x-verdigris-slot: blue\r\n").await;
    assert!(pair.proxy.metric("verdigris_requests_total", &["slot=\"green\"", "2xx"]).await >= 1.0);
    pair.proxy.switch("green").await;
    pair.assert_served_by("green", GREEN).await;
    pair.assert_served_by("green", "").await;
}

/// Fails when: the field is acted upon where nobody may choose, or is passed on.
#[tokio::test]
async fn without_the_table_the_field_means_nothing() {
    let pair = pair("").await;
    pair.assert_served_by("blue", GREEN).await;
    pair.assert_served_by("blue", "x-verdigris-slot: pink\r\nx-verdigris-token: x\r\n").await;
    for sent in pair.blue.requests() {
        assert_eq!(value(&sent.fields, "x-verdigris-slot").or(value(&sent.fields, "x-verdigris-token")), None);
    }
    assert_eq!(pair.green.hits(), 0);
}

/// Fails when: in `proxy::preview`, `asked` lets a stranger choose, or answers one before it knows that it may ask.
#[tokio::test]
async fn strangers_are_refused_and_never_served_by_the_other_slot() {
    let pair = pair(BY_TOKEN).await;
    for fields in [
        GREEN.to_owned(),
        "x-verdigris-slot: blue\r\n".to_owned(),
        "x-verdigris-slot: pink\r\n".to_owned(),
        format!("{GREEN}x-verdigris-token: {TOKEN}x\r\n"),
        format!("{GREEN}authorization: Bearer wrong-{TOKEN}\r\n"),
        format!("{GREEN}authorization: Basic {TOKEN}\r\n"),
        // A stranger's word about itself.
        format!("{GREEN}x-forwarded-for: 10.0.0.1\r\nforwarded: for=10.0.0.1\r\nx-real-ip: 10.0.0.1\r\n"),
    ] {
        let answer = pair.assert_refused(403, "preview_denied", &fields).await;
        assert!(answer.json()["message"].as_str().unwrap().contains("x-verdigris-token"), "{}", answer.text());
    }
    assert_eq!(pair.proxy.metric("verdigris_unrouted_failures_total", &["preview_denied"]).await, 7.0);
    pair.assert_served_by("blue", &format!("x-verdigris-token: {TOKEN}x\r\n")).await;
}

/// Fails when: in `proxy::preview`, `asked` takes what names no slot for one, or the first of two.
#[tokio::test]
async fn what_names_no_slot_is_refused() {
    let pair = pair(BY_NETWORK).await;
    for name in ["pink", "", "Green", "green, blue", "green\r\nx-verdigris-slot: blue", "\u{e4}"] {
        pair.assert_refused(400, "preview_invalid", &format!("x-verdigris-slot: {name}\r\n")).await;
    }
}

/// Fails when: in `proxy::preview`, `keep_token` keeps nothing back, or takes the server's own authorization away; in
/// `proxy::headers::hop`, the preview's fields do not end with the hop.
#[tokio::test]
async fn a_token_suffices_and_no_server_sees_it() {
    let pair = pair(BY_TOKEN).await;
    for fields in [
        format!("{GREEN}authorization: Bearer {TOKEN}\r\n"),
        format!("{GREEN}x-verdigris-token: {TOKEN}\r\nauthorization: Bearer of-the-server\r\n"),
        format!(
            "{GREEN}x-verdigris-token: {TOKEN}\r\nauthorization: Bearer {TOKEN}\r\nconnection: x-verdigris-slot\r\n"
        ),
    ] {
        pair.assert_served_by("green", &fields).await;
    }
    // Who shows it without choosing, shows it to the proxy all the same.
    pair.assert_served_by("blue", &format!("authorization: Bearer {TOKEN}\r\n")).await;
    pair.assert_served_by("blue", &format!("x-verdigris-token: {TOKEN}\r\n")).await;
    let of_green = pair.green.requests();
    assert_eq!(value(&of_green[1].fields, "authorization").as_deref(), Some("Bearer of-the-server"));
    for sent in of_green.iter().chain(&pair.blue.requests()) {
        let head = String::from_utf8_lossy(&sent.head).to_ascii_lowercase();
        assert!(!head.contains(TOKEN) && !head.contains("x-verdigris"), "{head}");
    }
}

/// Fails when: the token is written by anything that logs, at any level.
#[tokio::test]
async fn the_token_is_in_no_log() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let mut config = with_own_addresses(Config::pair(&blue, &green));
    config.services[0].tables = BY_TOKEN.to_owned();
    config.listen = format!("{}\"\naccess_log = \"access.log\"\n#", config.listen);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("preview.token"), TOKEN).unwrap();
    let binary = Binary::traced(dir.path(), &config).await;
    let mut conn = binary.conn().await;
    for fields in [
        format!("{GREEN}authorization: Bearer {TOKEN}\r\n"),
        format!("{GREEN}x-verdigris-token: {TOKEN}\r\n"),
        format!("{GREEN}x-verdigris-token: {TOKEN}x\r\n"),
    ] {
        conn.call(&request("GET", "/", &fields, b"")).await;
    }
    binary.admin.call("POST", "/v1/config/reload", None).await;
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    until("three access records", || async {
        let records = read("access.log");
        if records.lines().count() == 3 { Ok(()) } else { Err(records) }
    })
    .await;
    let (records, log) = (read("access.log"), read("log"));
    assert!(records.contains("\"slot\":\"green\"") && records.contains("preview_denied"), "{records}");
    assert!(log.contains("TRACE"), "the log says all it can: {log}");
    assert!(!records.contains(TOKEN) && !log.contains(TOKEN), "{records}{log}");
    let status = binary.admin.call("GET", "/v1/services", None).await.text;
    assert!(!status.contains(TOKEN), "{status}");
}

/// Fails when: in `proxy::exchange`, `client_address` is the peer's own, or believes a peer that nobody trusts.
#[tokio::test]
async fn the_client_is_the_one_that_a_trusted_proxy_names() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let tables = "[service.preview]\nallow = [\"192.0.2.0/24\"]";
    let mut config = Config::pair(&blue, &green).service(|service| service.tables = tables.to_owned());
    config.listen = "127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]\n#".to_owned();
    let pair = Pair { proxy: start(&config).await, blue, green };
    pair.assert_served_by("green", &format!("{GREEN}x-forwarded-for: 6.6.6.6, 192.0.2.7\r\n")).await;
    for told in ["", "x-forwarded-for: 192.0.2.7, 198.51.100.1\r\n"] {
        pair.assert_refused(403, "preview_denied", &format!("{GREEN}{told}")).await;
    }
}

/// Fails when: gRPC metadata or a WebSocket's handshake is not looked at, or a refusal is no gRPC status.
#[tokio::test]
async fn it_is_the_same_for_grpc_and_websockets() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))
        .service(|service| service.tables = BY_TOKEN.to_owned());
    let proxy = start(&config).await;
    let channel = Channel::open(proxy.addr).await;
    let answer = async |token: &str| {
        let call = http::Request::post(channel.uri("/test.Echo/Unary"))
            .header("content-type", "application/grpc")
            .header("x-verdigris-slot", "green")
            .header("x-verdigris-token", token);
        let (response, _body) = channel.request(call.body(()).unwrap(), true).await.unwrap();
        response.await.unwrap()
    };
    let served = answer(TOKEN).await;
    assert_eq!(
        (&served.headers()["x-verdigris-slot"], served.headers().get("x-verdigris-error")),
        (&"green".parse().unwrap(), None)
    );
    assert_eq!(green_grpc.metadata("x-verdigris-token"), None);
    let denied = answer("wrong-token-of-a-stranger").await;
    assert_eq!((denied.status().as_u16(), &denied.headers()["grpc-status"]), (200, &"7".parse().unwrap()));
    assert_eq!(denied.headers()["x-verdigris-error"], "preview_denied");

    let wish = format!("{GREEN}x-verdigris-token: {TOKEN}\r\nHost:");
    let mut socket = proxy.conn().await;
    socket.send(String::from_utf8(handshake("/chat?do=upgrade")).unwrap().replacen("Host:", &wish, 1).as_bytes()).await;
    let head = socket.head().await;
    assert_eq!((head.status, head.field("x-verdigris-slot").as_deref()), (101, Some("green")));
    assert_eq!((blue.hits(), green.hits()), (0, 1));
}

/// Fails when: a token file that cannot be used is taken for none, or is not named.
#[tokio::test]
async fn a_token_file_that_cannot_be_used_is_refused_with_its_place() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = BY_TOKEN.to_owned());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("verdigris.toml");
    fs::write(&path, config.text()).unwrap();
    let (code, said) = Binary::refused(&path).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("preview.token_file") && said.contains("preview.token cannot be read"), "{said}");
    let pair = pair(BY_TOKEN).await;
    fs::write(pair.proxy.dir.path().join("preview.token"), "short\n").unwrap();
    let reply = pair.proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert!(reply.text.contains("only 5 bytes") && !reply.text.contains("short\\n"), "{}", reply.text);
    pair.assert_served_by("green", &format!("{GREEN}x-verdigris-token: {TOKEN}\r\n")).await;
}

/// The header is not one to be found by a server that is a Verdigris itself. Fails when: the field is passed on.
#[tokio::test]
async fn a_proxy_behind_sees_nothing_of_it() {
    let inner = pair(BY_NETWORK).await;
    let spare = Origin::start("spare").await;
    let url = format!("http://{}", inner.proxy.addr);
    let mut config = Config::pair(&spare, &spare).service(|service| service.tables = BY_NETWORK.to_owned());
    config.services[0].green = format!("\"{url}\"");
    let outer = start(&config).await;
    let answer = outer.once(&request("GET", "/", GREEN, b"")).await;
    assert_eq!((answer.colour().as_str(), answer.field("x-verdigris-slot").as_deref()), ("blue", Some("green")));
    assert_eq!(outer.once(&get("/")).await.colour(), "spare");
}
