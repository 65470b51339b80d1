//! Certificates that are renewed while the proxy runs.

use serde_json::Value;

use super::{Set, set};
use crate::support::{
    client::{Conn, get},
    load::{Kind, Load, assert_no_failures},
    tls::{Pair, der},
    wait::until,
};

async fn until_shown(set: &Set, pair: &Pair) {
    let wanted = der(pair);
    until("the new certificate", || async {
        let shown = set.client().shown(set.proxy.addr).await.map_err(|bad| bad.to_string())?;
        if shown == wanted { Ok(()) } else { Err("another one".to_owned()) }
    })
    .await;
}

/// Fails when: in `app::start`, nobody looks at the files; in `net::open`, a handshake uses what was in force at the
/// start; or a renewal closes connections or loses requests.
#[tokio::test]
async fn a_renewal_under_load_touches_nothing_that_is_open() {
    let set = set(|_, config| config).await;
    let (h1, h2) = (set.relay("http/1.1").await, set.relay("h2").await);
    let mut old = Conn::open(h1.addr).await;
    assert_eq!(old.call(&get("/")).await.colour(), "blue");
    let load = Load::start(h1.addr, &[(Kind::Get, 2), (Kind::Sse, 1), (Kind::WebSocket, 1)]);
    let grpc = Load::start(h2.addr, &[(Kind::GrpcUnary, 1), (Kind::GrpcBidi, 1)]);
    for _ in 0..2 {
        load.more(10).await;
        let renewed = set.ca.put("iris", &["iris.test"]);
        until_shown(&set, &renewed).await;
        grpc.more(5).await;
    }
    assert!(old.still_serves().await, "the connection of before");
    let mut samples = load.finish().await;
    samples.extend(grpc.finish().await);
    assert_no_failures(&samples);
    assert_eq!(set.failures("tls_handshake").await, 0.0);
}

/// Fails when: a pair that does not belong together is put in force or breaks the listener, is not told, or the second
/// file of a renewal is overlooked.
#[tokio::test]
async fn a_mismatched_pair_keeps_the_old_one_and_says_so() {
    let set = set(|_, config| config).await;
    let before = set.client().shown(set.proxy.addr).await.unwrap();
    let renewed = set.ca.issue(&["iris.test"]);
    set.ca.write("iris.pem", &renewed.cert);
    until("the trouble to be told", || async {
        let ok = set.proxy.metric("verdigris_tls_certificates_ok", &["listener=\"proxy\""]).await;
        if ok == 0.0 { Ok(()) } else { Err(ok) }
    })
    .await;
    assert!(set.client().shown(set.proxy.addr).await.unwrap() == before, "the old one serves on");
    let told = set.proxy.admin.list().await["proxy"]["certificate_problems"][0].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("does not belong")), "{told}");
    let reply = set.proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 422, "a reload is refused: {}", reply.text);
    assert!(reply.text.contains("proxy.tls.key") && reply.text.contains("does not belong"), "{}", reply.text);
    set.ca.write("iris.key", &renewed.key);
    until_shown(&set, &renewed).await;
    assert_eq!(set.proxy.metric("verdigris_tls_certificates_ok", &["listener=\"proxy\""]).await, 1.0);
    let expires = set.proxy.metric("verdigris_tls_certificate_expires_timestamp_seconds", &["iris.pem"]).await;
    assert!(expires > 1e9, "{expires}");
}

async fn reload(set: &Set, text: &str) -> (u16, Value) {
    std::fs::write(set.proxy.config_path(), text).unwrap();
    let reply = set.proxy.admin.call("POST", "/v1/config/reload", None).await;
    (reply.status, reply.json)
}

/// Fails when: other files in `[proxy.tls]` wait for a restart; a file that cannot be used is not refused with its
/// place, or changes something; TLS on or off is not said to wait for a restart.
#[tokio::test]
async fn other_files_are_taken_at_a_reload() {
    let set = set(|_, config| config).await;
    let other = set.ca.put("other", &["iris.test"]);
    let text = set.config.text().replace("iris.pem", "other.pem").replace("iris.key", "other.key");
    let (status, reply) = reload(&set, &text).await;
    assert_eq!((status, &reply["needs_restart"]), (200, &serde_json::json!([])), "{reply}");
    assert!(set.client().shown(set.proxy.addr).await.unwrap() == der(&other));

    let (status, reply) = reload(&set, &text.replace("other.key", "nowhere.key")).await;
    let problem = reply["problems"][0].as_str().unwrap_or_default().to_owned();
    let line = 1 + text.lines().position(|line| line.starts_with("key = ")).unwrap();
    assert_eq!(status, 422, "{reply}");
    assert!(problem.contains(&format!("verdigris.toml:{line}:")) && problem.contains("proxy.tls.key"), "{problem}");
    assert!(problem.contains("nowhere.key"), "{problem}");
    assert!(set.client().shown(set.proxy.addr).await.unwrap() == der(&other), "the old one serves on");

    let without: Vec<&str> = text
        .lines()
        .filter(|line| !["[proxy.tls]", "cert = ", "key = "].iter().any(|begin| line.starts_with(begin)))
        .collect();
    let (status, reply) = reload(&set, &without.join("\n")).await;
    assert_eq!((status, reply["needs_restart"][0].as_str()), (200, Some("proxy.tls: on -> off")), "{reply}");
    assert!(set.client().shown(set.proxy.addr).await.is_ok(), "it speaks TLS on");
}
