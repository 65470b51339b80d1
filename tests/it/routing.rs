//! Which service takes a request.

use http::Request;

use crate::support::{
    client::get,
    config::{Config, Service},
    grpc::{Channel, text},
    origin::Origin,
    proxy::Proxy,
    wait::within,
};

/// One origin for each rule, named by its colour; the proxy must pick the one that is expected.
async fn proxy_with(rules: &[(&str, &str)]) -> (Vec<Origin>, Proxy) {
    let (mut origins, mut services) = (Vec::new(), Vec::new());
    for (name, rule) in rules {
        let origin = Origin::start(name).await;
        services.push(Service::new(name, &origin.url(), "").rule(rule));
        origins.push(origin);
    }
    (origins, Proxy::ready(&Config::new(services)).await)
}

/// The service that took the request, or the error.
async fn taker(proxy: &Proxy, host: &str, target: &str, fields: &str) -> String {
    let bytes = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
    let answer = proxy.once(bytes.as_bytes()).await;
    answer.error().unwrap_or_else(|| answer.colour())
}

/// Fails when: a prefix ends inside a segment, or a shorter one wins.
#[tokio::test]
async fn the_longest_prefix_of_whole_segments_wins() {
    let rules = [
        ("all", "path_prefix = \"/v2\""),
        ("iris", "path_prefix = \"/v2/models/iris\""),
        ("iris-v3", "path_prefix = \"/v2/models/iris/versions/3\""),
    ];
    let (_origins, proxy) = proxy_with(&rules).await;
    for (target, wanted) in [
        ("/v2/models/iris", "iris"),
        ("/v2/models/iris/", "iris"),
        ("/v2/models/iris/infer", "iris"),
        ("/v2/models/iris:predict", "iris"),
        ("/v2/models/iris?x=/v2/models/rose", "iris"),
        ("/v2/models/iris/versions/3/infer", "iris-v3"),
        ("/v2/models/iris/versions/30/infer", "iris"),
        ("/v2/models/iris2", "all"),
        ("/v2/models/iris2/infer", "all"),
        ("/v2/models/iri", "all"),
        ("/v2/models/IRIS", "all"),
        ("/v2", "all"),
        ("/v20", "no_service"),
        ("/", "no_service"),
    ] {
        assert_eq!(taker(&proxy, "h.test", target, "").await, wanted, "{target}");
    }
}

/// Fails when: host names are compared with their case or port, or a wildcard takes the bare domain.
#[tokio::test]
async fn hosts_are_names_without_case_and_port() {
    let rules = [
        ("exact", "host = \"iris.example.org\""),
        ("wild", "host = \"*.example.org\""),
        ("deep", "host = \"iris.example.org\", path_prefix = \"/deep\""),
    ];
    let (_origins, proxy) = proxy_with(&rules).await;
    for (host, target, wanted) in [
        ("iris.example.org", "/", "exact"),
        ("IRIS.Example.ORG:8080", "/", "exact"),
        ("iris.example.org", "/deep/er", "deep"),
        ("rose.example.org", "/deep", "wild"),
        ("a.b.example.org", "/", "wild"),
        ("example.org", "/", "no_service"),
        ("badexample.org", "/", "no_service"),
        ("127.0.0.1", "/", "no_service"),
    ] {
        assert_eq!(taker(&proxy, host, target, "").await, wanted, "{host}{target}");
    }
    assert_eq!(
        taker(&proxy, "other.test", "http://iris.example.org/", "").await,
        "exact",
        "the absolute form wins over Host"
    );
}

/// Fails when: one of several headers is enough, or its name's case matters.
#[tokio::test]
async fn headers_must_all_agree() {
    let rules = [
        ("plain", "path_prefix = \"/\""),
        ("team", "path_prefix = \"/\", headers = { x-team = \"red\" }"),
        ("both", "path_prefix = \"/\", headers = { x-team = \"red\", x-stage = \"test\" }"),
    ];
    let (_origins, proxy) = proxy_with(&rules).await;
    for (fields, wanted) in [
        ("", "plain"),
        ("x-team: blue\r\n", "plain"),
        ("X-Team: red\r\n", "team"),
        ("x-team: Red\r\n", "plain"),
        ("x-team: red\r\nx-stage: test\r\n", "both"),
        ("x-stage: test\r\n", "plain"),
    ] {
        assert_eq!(taker(&proxy, "h.test", "/a", fields).await, wanted, "{fields:?}");
    }
}

/// Fails when: an unknown place is answered by anything but a plain 404 of the proxy.
#[tokio::test]
async fn no_service_is_a_404_that_says_so() {
    let (origins, proxy) = proxy_with(&[("iris", "path_prefix = \"/v2/models/iris\"")]).await;
    let mut conn = proxy.conn().await;
    let answer = conn.call(&get("/v2/models/rose")).await;
    assert_eq!((answer.status, answer.error().as_deref()), (404, Some("no_service")));
    assert_eq!((answer.json()["error"].as_str(), answer.field("x-verdigris-slot")), (Some("no_service"), None));
    assert!(answer.field("x-request-id").is_some());
    assert_eq!(conn.call(&get("/v2/models/iris")).await.colour(), "iris", "the connection goes on");
    assert_eq!(origins[0].hits(), 1);
}

/// Fails when: the streams of one HTTP/2 connection are routed together instead of one by one.
#[tokio::test]
async fn each_stream_of_a_connection_is_routed_by_itself() {
    let (_origins, proxy) =
        proxy_with(&[("iris", "path_prefix = \"/iris\""), ("rose", "path_prefix = \"/rose\"")]).await;
    let channel = Channel::open(proxy.addr).await;
    for target in ["/iris", "/rose", "/iris", "/rose"] {
        let request = Request::get(channel.uri(target)).body(()).unwrap();
        let (response, _send) = channel.request(request, true).await.unwrap();
        let head = within("the answer", response).await.unwrap();
        assert_eq!(text(head.headers(), "x-colour").as_deref(), target.strip_prefix('/'));
    }
}

/// Two services switch on their own. Fails when: a switch of one moves, or blocks, the other.
#[tokio::test]
async fn services_switch_one_by_one() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let service =
        |name: &str| Service::new(name, &blue.url(), &green.url()).rule(&format!("path_prefix = \"/{name}\""));
    let proxy = Proxy::ready(&Config::new(vec![service("iris"), service("rose")])).await;
    let before = proxy.admin.status("rose").await["generation"].clone();
    proxy.switch("green").await;
    assert_eq!(proxy.once(&get("/iris")).await.colour(), "green");
    assert_eq!(proxy.once(&get("/rose")).await.colour(), "blue");
    assert_eq!(proxy.admin.status("rose").await["generation"], before);
}
