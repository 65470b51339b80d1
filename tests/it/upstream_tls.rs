//! Endpoints behind TLS: known by their certificate, told apart by what is wrong with it, switched like any other.

use std::{fs, sync::atomic::Ordering::SeqCst};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    gate::{GOLDEN, step},
    support::{
        client::get,
        config::{Config, Service},
        grpc::Channel,
        grpc_origin::GrpcOrigin,
        load::{Kind, Load, assert_no_failures},
        origin::Origin,
        proxy::Proxy,
        tls::Authority,
        tls_door::{Door, unix_door},
        wait::until,
    },
};

/// A directory with the authority's certificate in `ca.pem`.
fn directory(authority: &Authority) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(authority.path("ca.pem"), dir.path().join("ca.pem")).unwrap();
    dir
}

async fn start(dir: TempDir, config: &Config) -> Proxy {
    fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    Proxy::in_dir(dir).await
}

fn service(blue: &str, green: &str, tls: &str) -> Config {
    let mut service = Service::new("iris", blue, green);
    service.tables = format!("[service.tls]\n{tls}\n[service.retry]\nwait = \"0s\"");
    Config::new(vec![service])
}

/// Fails when: `Target::open` shakes no hands, the pool keeps no TLS connection, or sessions are not resumed.
#[tokio::test]
async fn a_known_certificate_is_all_it_takes() {
    let authority = Authority::new("ours");
    let origin = Origin::start("blue").await;
    let door = Door::start(origin.addr, &authority.issue(&["127.0.0.1"]), &["http/1.1"], None).await;
    let proxy = start(directory(&authority), &service(&door.url("https"), "", "ca = \"ca.pem\"")).await;
    proxy.admin.until_healthy("iris").await;
    let detail = proxy.admin.status("iris").await["slots"]["blue"]["endpoints"][0].clone();
    assert_eq!(detail["http"], door.url("https"));
    assert!(detail["detail"].as_str().unwrap().contains("answered 200"), "{detail}");
    let mut conn = proxy.conn().await;
    for _ in 0..10 {
        assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    }
    until("a resumed session", || async {
        (door.seen.resumed.load(SeqCst) > 3).then_some(()).ok_or("only full handshakes")
    })
    .await;
    assert!(door.seen.full.load(SeqCst) < 8, "probes and requests resume the session of the first");
    let agreed = door.seen.agreed.lock().unwrap().clone();
    assert!(agreed.iter().all(|(_, protocol)| protocol.as_deref() == Some("http/1.1")), "{agreed:?}");
}

/// Fails when: a certificate is not checked, or the reason is not told in the probe's words and the answer's kind.
#[tokio::test]
async fn a_wrong_certificate_is_refused_and_the_reason_told() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let origin = Origin::start("blue").await;
    for (issued, tls, reason) in [
        (authority.issue(&["127.0.0.1"]), "ca = \"other.pem\"", "unknown issuer"),
        (authority.issue(&["127.0.0.1"]), "", "unknown issuer"),
        (authority.issue(&["model.test"]), "ca = \"ca.pem\"", "for another name"),
        (authority.issue(&["127.0.0.1"]), "ca = \"ca.pem\"\nserver_name = \"model.test\"", "for another name"),
        (authority.issue_until(&["127.0.0.1"], 2002), "ca = \"ca.pem\"", "expired"),
    ] {
        let door = Door::start(origin.addr, &issued, &["http/1.1"], None).await;
        let dir = directory(&authority);
        fs::copy(other.path("ca.pem"), dir.path().join("other.pem")).unwrap();
        let proxy = start(dir, &service(&door.url("https"), "", tls)).await;
        let answer = proxy.once(&get("/")).await;
        assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_tls")), "{}", answer.text());
        let detail = until("a probe", || async {
            let status = proxy.admin.status("iris").await;
            let detail = status["slots"]["blue"]["endpoints"][0]["detail"].as_str().unwrap().to_owned();
            if detail == "not probed yet" { Err(detail) } else { Ok(detail) }
        })
        .await;
        assert!(detail.contains("no TLS") && detail.contains(reason), "{reason}: {detail}");
        let refused = proxy.admin.call("POST", "/v1/services/iris/slots/blue/test", None).await;
        assert!(refused.text.contains(reason), "the gate tells it, too: {}", refused.text);
    }
    assert_eq!(origin.hits(), 0);
}

/// Fails when: `server_name` is not what is asked for and checked, or a plain server is taken for a TLS server.
#[tokio::test]
async fn the_name_can_be_given_and_a_plain_server_is_told() {
    let authority = Authority::new("ours");
    let origin = Origin::start("blue").await;
    let door = Door::start(origin.addr, &authority.issue(&["model.test"]), &[], None).await;
    let tls = "ca = \"ca.pem\"\nserver_name = \"model.test\"";
    let plain = format!("https://{}", origin.addr);
    let proxy = start(directory(&authority), &service(&door.url("https"), &plain, tls)).await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue", "a server without ALPN will do for HTTP/1.1");
    assert_eq!(door.seen.agreed.lock().unwrap()[0].0.as_deref(), Some("model.test"));
    let refused = proxy.admin.call("POST", "/v1/services/iris/switch", Some(json!({"to": "green"}))).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("no TLS handshake"), "{}", refused.text);
}

/// Fails when: the proxy's certificate is not shown, or that it is missing is not told as what it is.
#[tokio::test]
async fn a_server_may_ask_for_the_proxys_certificate() {
    let authority = Authority::new("ours");
    let origin = Origin::start("blue").await;
    let door = Door::start(origin.addr, &authority.issue(&["127.0.0.1"]), &["http/1.1"], Some(&authority)).await;
    let dir = directory(&authority);
    let identity = authority.issue(&["proxy.test"]);
    fs::write(dir.path().join("proxy.pem"), identity.cert).unwrap();
    fs::write(dir.path().join("proxy.key"), identity.key).unwrap();
    let mut with = Service::new("iris", &door.url("https"), "");
    with.tables = "[service.tls]\nca = \"ca.pem\"\ncert = \"proxy.pem\"\nkey = \"proxy.key\"".to_owned();
    let mut without = Service::new("bare", &door.url("https"), "").rule("host = \"bare.test\"");
    without.tables = "[service.tls]\nca = \"ca.pem\"".to_owned();
    let proxy = start(dir, &Config::new(vec![with, without])).await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    let answer = proxy.once(b"GET / HTTP/1.1\r\nHost: bare.test\r\n\r\n").await;
    assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_tls")), "{}", answer.text());
    until("the probe's reason", || async {
        let status = proxy.admin.status("bare").await;
        let detail = status["slots"]["blue"]["endpoints"][0]["detail"].as_str().unwrap().to_owned();
        if detail.contains("client certificate") { Ok(()) } else { Err(detail) }
    })
    .await;
}

/// Fails when: `grpcs://` does not agree on HTTP/2 by ALPN, its `:scheme` or probe is wrong, or a server without h2 is
/// spoken to in HTTP/2 all the same.
#[tokio::test]
async fn grpc_goes_over_tls_with_http2_by_alpn() {
    let authority = Authority::new("ours");
    let (http, grpc) = (Origin::start("blue").await, GrpcOrigin::start("blue").await);
    let issued = authority.issue(&["127.0.0.1"]);
    let http_door = Door::start(http.addr, &issued, &["h2", "http/1.1"], None).await;
    let grpc_door = Door::start(grpc.addr, &issued, &["h2"], None).await;
    let no_h2 = Door::start(grpc.addr, &issued, &[], None).await;
    for probe in ["v2", "health", "connect"] {
        let config = service("", "", "ca = \"ca.pem\"").service(|service| {
            service.blue =
                format!("{{ http = \"{}\", grpc = \"{}\" }}", http_door.url("https"), grpc_door.url("grpcs"));
            service.green = format!("\"{}\"", no_h2.url("grpcs"));
            service.health.push_str(&format!("\ngrpc = \"{probe}\""));
        });
        let proxy = start(directory(&authority), &config).await;
        until("blue to be healthy", || async {
            let endpoint = proxy.admin.status("iris").await["slots"]["blue"]["endpoints"][0].clone();
            if endpoint["health"] == "healthy" { Ok(()) } else { Err(endpoint) }
        })
        .await;
        let channel = Channel::open(proxy.addr).await;
        let reply = channel.call("Unary", &["hello"]).await;
        assert_eq!((reply.messages, reply.trailers.is_some()), (vec!["blue:hello".to_owned()], true));
        assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
        let refused = proxy.admin.call("POST", "/v1/services/iris/switch", Some(json!({"to": "green"}))).await;
        assert!(refused.status == 409 && refused.text.contains("ALPN"), "{}", refused.text);
    }
    let agreed = grpc_door.seen.agreed.lock().unwrap().clone();
    assert!(!agreed.is_empty() && agreed.iter().all(|(_, protocol)| protocol.as_deref() == Some("h2")), "{agreed:?}");
    let agreed = http_door.seen.agreed.lock().unwrap().clone();
    assert!(agreed.iter().all(|(_, protocol)| protocol.as_deref() == Some("http/1.1")), "{agreed:?}");
}

/// Fails when: a switch between a slot in clear and one behind TLS loses or cuts a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_in_clear_and_behind_tls_are_switched_under_load() {
    let authority = Authority::new("ours");
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    green.shared.recording.store(false, SeqCst);
    let issued = authority.issue(&["127.0.0.1"]);
    let http = Door::start(green.addr, &issued, &["http/1.1"], None).await;
    let grpc = Door::start(green_grpc.addr, &issued, &["h2"], None).await;
    let config = Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc)).service(|service| {
        service.green = format!("{{ http = \"{}\", grpc = \"{}\" }}", http.url("https"), grpc.url("grpcs"));
        service.tables = "[service.tls]\nca = \"ca.pem\"".to_owned();
    });
    let proxy = start(directory(&authority), &config).await;
    proxy.admin.until_healthy("iris").await;
    let kinds = [(Kind::Get, 2), (Kind::Post, 2), (Kind::Sse, 2), (Kind::WebSocket, 1), (Kind::GrpcUnary, 2)];
    let load = Load::start(proxy.addr, &kinds);
    for round in 0..30 {
        load.more(20).await;
        proxy.switch(if round % 2 == 0 { "green" } else { "blue" }).await;
    }
    load.more(20).await;
    let samples = load.finish().await;
    assert_no_failures(&samples);
    for colour in ["blue", "green"] {
        assert!(samples.iter().filter(|sample| sample.result.as_deref() == Ok(colour)).count() > 50);
    }
}

/// Fails when: a bad file lets the proxy start or reload, or the problem has no place; or a changed file is not taken up
/// by a reload.
#[tokio::test]
async fn files_are_checked_with_the_config_and_read_again_with_it() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let origin = Origin::start("blue").await;
    let door = Door::start(origin.addr, &new.issue(&["127.0.0.1"]), &["http/1.1"], None).await;
    let config = service(&door.url("https"), "", "ca = \"ca.pem\"");
    let proxy = start(directory(&old), &config).await;
    let ca = proxy.dir.path().join("ca.pem");
    assert_eq!(proxy.once(&get("/")).await.error().as_deref(), Some("upstream_tls"));
    fs::write(&ca, "not a certificate").unwrap();
    let refused = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let line = 1 + config.text().lines().position(|line| line.starts_with("ca =")).unwrap();
    let place = format!("verdigris.toml:{line}:6: service[0].tls.ca: ");
    assert!(refused.text.contains(&place) && refused.text.contains("has no certificate in it"), "{}", refused.text);
    fs::copy(new.path("ca.pem"), &ca).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert!(reply.status == 200 && reply.text.contains("files of service.tls changed"), "{}", reply.text);
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    let again = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(again.json["changes"], json!([]), "{}", again.text);
}

/// Fails when: unix sockets take no HTTP, no gRPC or no probes.
#[tokio::test]
async fn unix_sockets_take_http_and_grpc() {
    let (http, grpc) = (Origin::start("blue").await, GrpcOrigin::start("blue").await);
    let dir = tempfile::tempdir().unwrap();
    let [http_path, grpc_path] = ["http.sock", "grpc.sock"].map(|name| dir.path().join(name));
    unix_door(&http_path, http.addr);
    unix_door(&grpc_path, grpc.addr);
    let config = service("", "", "").service(|service| {
        let (http, grpc) = (http_path.display(), grpc_path.display());
        service.blue = format!("{{ http = \"unix:{http}\", grpc = \"unix:{grpc}\" }}");
        service.health.push_str("\ngrpc = \"v2\"");
    });
    let proxy = start(dir, &config).await;
    proxy.admin.until_healthy("iris").await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    let reply = Channel::open(proxy.addr).await.call("Unary", &["hello"]).await;
    assert_eq!(reply.messages, ["blue:hello"]);
}

/// What a gate sends is known by the same certificates as live traffic. Fails when: in `checks::ask`, a line is opened in
/// clear; or, in `proxy::ahead`, connections are opened without their handshake.
#[tokio::test]
async fn golden_requests_and_warm_up_go_through_the_same_door() {
    let authority = Authority::new("ours");
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let issued = authority.issue(&["127.0.0.1"]);
    let doors = [
        Door::start(blue.addr, &issued, &["http/1.1"], None).await,
        Door::start(green.addr, &issued, &["http/1.1"], None).await,
    ];
    let dir = directory(&authority);
    fs::write(dir.path().join("golden.jsonl"), GOLDEN).unwrap();
    let mut config = service(&doors[0].url("https"), &doors[1].url("https"), "ca = \"ca.pem\"");
    config.services[0].tables.push_str("\n[service.gate]\ngolden = \"golden.jsonl\"\n");
    config.services[0].health = "path = \"/v2/health/ready\"\ninterval = \"1h\"\ntimeout = \"5s\"".to_owned();
    let proxy = start(dir, &config).await;
    proxy.admin.until_healthy("iris").await;
    let gate = proxy.switch("green").await["gate"].clone();
    assert_eq!(step(&gate, "golden").0, "pass", "{gate}");
    assert!(step(&gate, "golden").1.contains("3 of 3"), "{gate}");
    for name in ["warm_up", "connections"] {
        assert_eq!(step(&gate, name).0, "pass", "{gate}");
    }
    // Who has shaken hands was accepted, while a server may learn of the last shake a little later.
    let accepted = || doors[1].seen.accepted.load(SeqCst);
    let before = accepted();
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
    assert_eq!(accepted(), before, "the first user shakes no hands");
}
