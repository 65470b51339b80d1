//! THE test: a mixed load on long-lived client connections, across hundreds of switches and rollbacks.

use std::{collections::HashMap, sync::atomic::Ordering::SeqCst, time::Instant};

use serde_json::json;

use crate::support::{
    config::Config,
    grpc_origin::GrpcOrigin,
    load::{Kind, Load, Switch, assert_no_failures, assert_none_stale},
    origin::{Origin, Reuse},
    proxy::Proxy,
};

const CLIENTS: &[(Kind, usize)] =
    &[(Kind::Get, 2), (Kind::Post, 3), (Kind::Sse, 3), (Kind::WebSocket, 2), (Kind::GrpcUnary, 2), (Kind::GrpcBidi, 2)];
const SWITCHES: usize = 200;

/// P1, P2, P4, P5 and P7 at once: no request is lost, cut, mixed from two slots or answered by a slot that a finished
/// switch call had left; no client connection is closed; every lease is given back.
///
/// Fails when: in `control::effects`, `carry_out` answers and saves before it publishes, or `publish_change` cuts what
/// runs; in `proxy::handler`, a connection's first slot serves all its requests, or answers say `Connection: close`
/// after a switch; in `proxy::worker`, `obey` lets `CloseIdle` send a GOAWAY; in `table::pointer`, `publish` retires
/// nothing; in `proxy::forward`, `after_failure` never permits a replay; in `control::controller`, `journal` writes
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_switches_lose_nothing() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue_grpc, green_grpc) = (GrpcOrigin::start("blue").await, GrpcOrigin::start("green").await);
    for origin in [&blue, &green] {
        origin.shared.recording.store(false, SeqCst);
        origin.reuse(Reuse::DropEvery(50));
    }
    let proxy = Proxy::ready(&Config::pair_with_grpc((&blue, &blue_grpc), (&green, &green_grpc))).await;
    let first = proxy.admin.status("iris").await["generation"].as_u64().unwrap();
    let load = Load::start(proxy.addr, CLIENTS);
    load.more(50).await;

    let mut switches = Vec::with_capacity(SWITCHES);
    for round in 0..SWITCHES {
        let to = if round % 2 == 0 { "green" } else { "blue" };
        let called = Instant::now();
        let reply = match round % 4 {
            3 => proxy.admin.rollback("iris").await,
            _ => proxy.admin.switch("iris", json!({"to": to, "reason": format!("round {round}")})).await,
        };
        let returned = Instant::now();
        assert_eq!(
            (reply["active"].as_str(), reply["generation"].as_u64()),
            (Some(to), Some(first + round as u64 + 1))
        );
        switches.push(Switch { to: to.to_owned(), called, returned });
        load.more(15).await;
    }
    let samples = load.finish().await;

    assert_no_failures(&samples);
    assert_none_stale("blue", &switches, &samples);
    let mut by_kind: HashMap<(Kind, &str), usize> = HashMap::new();
    for sample in &samples {
        *by_kind.entry((sample.kind, sample.result.as_deref().unwrap())).or_default() += 1;
    }
    for kind in Kind::ALL {
        for colour in ["blue", "green"] {
            let count = by_kind.get(&(kind, colour)).copied().unwrap_or_default();
            assert!(count >= 20, "only {count} {kind:?} on {colour}: the load proves too little");
        }
    }
    proxy.admin.until_safe_to_delete("iris", "green").await;
    let blue = proxy.admin.drain("iris", "blue").await;
    assert_eq!((&blue["in_flight"]["total"], &blue["cut"]), (&json!(0), &json!(0)), "{blue}");
    let history = proxy.admin.history("iris").await;
    assert!(history.len() >= 100, "a page of the history: {} entries", history.len());
}
