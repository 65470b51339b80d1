//! P5 by numbers: servers that close connections in every way there is, and not one good request that fails for it.
//!
//! A few thousand requests in the ordinary run; `VERDIGRIS_SOAK=full` makes it the hundred thousand of each kind that is
//! promised (`tests/all.sh` has a section for it).

mod load;
mod server;

use std::time::Duration;

use self::{
    load::{Kind, Load, Report},
    server::{Fault, Habit, Server},
};
use crate::support::{
    config::{Config, Service},
    proxy::Proxy,
    wait::until_true,
};

/// How many requests of a kind a soak is to send.
fn soak_requests() -> u64 {
    if std::env::var("VERDIGRIS_SOAK").is_ok_and(|how| how == "full") { 100_000 } else { 3_000 }
}

async fn proxy_for(server: &Server) -> Proxy {
    let service = Service::new("iris", &format!("http://{}", server.addr), "");
    Proxy::ready(&Config::new(vec![service])).await
}

async fn soak(habit: Habit, kinds: &[Kind]) -> (Report, Proxy) {
    let server = Server::start(habit).await;
    let proxy = proxy_for(&server).await;
    let report = Load::start(proxy.addr, kinds, 64).until_done(soak_requests() * kinds.len() as u64).await;
    (report, proxy)
}

fn assert_flawless(report: &Report) {
    let some: Vec<_> = report.failures.iter().take(5).collect();
    assert!(some.is_empty(), "{} of {} good requests failed: {some:#?}", report.failures.len(), report.done);
}

/// Fails when: a request is lost because its connection was closed after 5 to 50 ms of idleness, at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_close_at_random_cost_nobody() {
    let (report, proxy) = soak(Habit::CloseIdle { after_ms: 5..50 }, &[Kind::Get, Kind::Infer]).await;
    assert_flawless(&report);
    assert!(report.connections > report.done / 200, "the server closed often enough: {report:?}");
    drop(proxy);
}

/// Fails when: one caller's bad request costs the next caller theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_silently_after_a_500_costs_nobody() {
    let (report, proxy) = soak(Habit::CloseAfter500, &[Kind::Get, Kind::Infer, Kind::Bad]).await;
    assert_flawless(&report);
    assert_eq!(proxy.metric("verdigris_replays_total", &[]).await, 0.0, "such a connection is not even tried again");
}

/// About 2,000 requests while the server does this to all its connections, again and again.
async fn under_faults(fault: Fault, every: Duration, times: u64) -> Report {
    let server = Server::start(Habit::Work { ms: 1..4 }).await;
    let proxy = proxy_for(&server).await;
    let load = Load::start(proxy.addr, &[Kind::Get, Kind::Infer], 16);
    for _ in 0..times {
        tokio::time::sleep(every).await; // the pace of the faults
        server.suffer(fault).await;
        let seen = load.done();
        until_true("the load to go on", || load.done() >= seen + 32).await;
    }
    until_true("the load to be done", || load.done() >= 2_000).await;
    load.finish().await
}

/// Fails when: a graceful restart costs a request: idle connections closed, those at work finished, a gap, a new listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_restart_costs_nobody() {
    assert_flawless(
        &under_faults(Fault::Restart { gap: Duration::from_millis(300) }, Duration::from_millis(100), 3).await,
    );
}

/// Fails when: a FIN on every connection, whatever it does at that moment, costs a request that may be replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fin_on_every_connection_costs_nobody() {
    assert_flawless(&under_faults(Fault::Fin, Duration::from_millis(20), 20).await);
}

/// Fails when: a reset of every connection, whatever it does at that moment, costs a request that may be replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_every_connection_costs_nobody() {
    assert_flawless(&under_faults(Fault::Rst, Duration::from_millis(20), 20).await);
}

/// Fails when: a server that is killed and back after a second costs a request that may be replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_that_comes_back_costs_nobody() {
    let gap = Duration::from_secs(1);
    assert_flawless(&under_faults(Fault::Kill { gap }, Duration::from_millis(200), 2).await);
}
