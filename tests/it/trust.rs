//! Whose word about the client is taken: `proxy.trusted_proxies`.

use crate::support::{
    client::{get, request},
    config::Config,
    grpc::Channel,
    grpc_origin::GrpcOrigin,
    origin::{Origin, Recorded},
    proxy::Proxy,
    wait::{until, within},
    wire::{value, values},
};

const TOLD: &str = "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 127.0.0.8\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: public.example.org\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /outer/\r\n\
    Forwarded: for=192.0.2.1;proto=https\r\nX-Real-IP: 192.0.2.1\r\n";

/// The proxy with a list of trusted networks, put where the file has it.
async fn pair(trusted: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&config(trusted, &blue, &green)).await;
    (blue, green, proxy)
}

fn config(trusted: &str, blue: &Origin, green: &Origin) -> Config {
    let mut config = Config::pair(blue, green);
    // `[proxy]` is open after `listen`.
    config.listen = format!("127.0.0.1:0\"\naccess_log = \"access.log\"\ntrusted_proxies = [{trusted}]\n#");
    config
}

fn told(sent: &Recorded) -> [Vec<String>; 7] {
    ["for", "proto", "host", "port", "prefix"]
        .map(|name| format!("x-forwarded-{name}"))
        .into_iter()
        .chain(["forwarded".to_owned(), "x-real-ip".to_owned()])
        .map(|name| values(&sent.fields, &name))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

fn lists(fields: [&[&str]; 7]) -> [Vec<String>; 7] {
    fields.map(|list| list.iter().map(|text| (*text).to_owned()).collect())
}

/// Fails when: a stranger can tell the server who it is, or a listed proxy cannot.
#[tokio::test]
async fn only_listed_proxies_are_believed() {
    let strangers = lists([&["127.0.0.1"], &["http"], &["iris.test"], &[], &[], &[], &[]]);
    let listed = lists([
        &["192.0.2.1, 127.0.0.8, 127.0.0.1"],
        &["https"],
        &["public.example.org"],
        &["443"],
        &["/outer/"],
        &["for=192.0.2.1;proto=https, for=127.0.0.1;host=\"iris.test\";proto=http"],
        &["192.0.2.1"],
    ]);
    let silent = lists([&["127.0.0.1"], &["http"], &["iris.test"], &[], &[], &[], &[]]);
    for (trusted, believed) in
        [("", false), ("\"10.0.0.0/8\", \"::1\"", false), ("\"10.0.0.0/8\", \"127.0.0.0/8\"", true)]
    {
        let (blue, _green, proxy) = pair(trusted).await;
        proxy.once(&request("GET", "/", TOLD, b"")).await;
        proxy.once(&get("/")).await;
        // A client must not be able to have a trusted proxy's word taken away either.
        proxy
            .once(&request("GET", "/", &format!("Connection: x-forwarded-for, forwarded, x-real-ip\r\n{TOLD}"), b""))
            .await;
        let sent = blue.requests();
        let expected = if believed { &listed } else { &strangers };
        assert_eq!(told(&sent[0]), *expected, "trusted: {trusted}");
        assert_eq!(told(&sent[1]), silent, "trusted: {trusted}");
        assert_eq!(told(&sent[2]), *expected, "trusted: {trusted}");
    }
}

/// Fails when: HTTP/2 and gRPC have another rule.
#[tokio::test]
async fn it_is_the_same_for_grpc() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    let proxy = Proxy::ready(&Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;
    let channel = Channel::open(proxy.addr).await;
    let call = http::Request::post(channel.uri("/test.Echo/Unary"))
        .header("content-type", "application/grpc")
        .header("x-forwarded-for", "192.0.2.1")
        .header("forwarded", "for=192.0.2.1");
    let (response, _body) = channel.request(call.body(()).unwrap(), true).await.unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(blue_grpc.metadata("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(blue_grpc.metadata("forwarded"), None);
}

/// Fails when: the access log names a proxy where it could name the client, or believes a stranger.
#[tokio::test]
async fn the_access_log_names_the_client() {
    for (trusted, expected) in [("", ["127.0.0.1", "127.0.0.1"]), ("\"127.0.0.0/8\"", ["192.0.2.1", "127.0.0.1"])] {
        let (_blue, _green, proxy) = pair(trusted).await;
        proxy.once(&request("GET", "/", TOLD, b"")).await;
        proxy.once(&get("/")).await;
        let path = proxy.dir.path().join("access.log");
        let clients = until("two records", || async {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let mut clients: Vec<_> = records.map(|record| record["client"].as_str().unwrap().to_owned()).collect();
            clients.sort_by(|a, b| b.cmp(a));
            if clients.len() == 2 { Ok(clients) } else { Err(text) }
        })
        .await;
        assert_eq!(clients, expected, "trusted: {trusted}");
    }
}

/// Fails when: a reload of the list waits for new connections; a load balancer keeps its own for hours.
#[tokio::test]
async fn the_list_is_reloaded_for_open_connections() {
    let (blue, green, proxy) = pair("").await;
    let mut conn = proxy.conn().await;
    let ask = request("GET", "/", "x-forwarded-for: 192.0.2.1\r\n", b"");
    conn.call(&ask).await;
    std::fs::write(proxy.config_path(), config("\"127.0.0.1\"", &blue, &green).text()).unwrap();
    proxy.admin.call("POST", "/v1/config/reload", None).await;
    within("the new list", async {
        let mut seen = None;
        while seen.as_deref() != Some("192.0.2.1, 127.0.0.1") {
            conn.call(&ask).await;
            seen = value(&blue.requests().last().unwrap().fields, "x-forwarded-for");
        }
    })
    .await;
    assert_eq!(value(&blue.requests()[0].fields, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
}
