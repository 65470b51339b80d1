//! The soak: every protocol at once, while servers are killed, stopped and reset and slots switch.
//!
//! Both sides note each request, so that what may be visible by the rules can be counted: a request that may be sent
//! again never fails; one that may not fails exactly if its server began it and did not end it; nothing that was cut
//! looks complete; nothing is done twice.

mod clients;
mod server;

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use clients::{Clients, Kind, Sample};
use server::{Fate, Server};

use crate::support::{
    binary::{Binary, with_own_addresses},
    client::get,
    config::{Config, Service},
    wait::until,
};

/// A few seconds, or the whole: `VERDIGRIS_SOAK=full`.
fn rounds() -> usize {
    if std::env::var_os("VERDIGRIS_SOAK").is_some_and(|value| value == "full") { 240 } else { 14 }
}

fn config(blue: &Server, green: &Server) -> Config {
    let mut service = Service::new("iris", "", "");
    (service.blue, service.green) = (blue.endpoint(), green.endpoint());
    service.health = "path = \"/v2/health/ready\"\ngrpc = \"v2\"\ninterval = \"100ms\"\ntimeout = \"1s\"".to_owned();
    service.tables = "[service.pool]\nidle_timeout = \"500ms\"\n[service.retry]\nwait = \"8s\"".to_owned();
    with_own_addresses(Config::new(vec![service]))
}

/// What the proxy's process holds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Holdings {
    descriptors: usize,
    tasks: f64,
    memory_kib: u64,
}

async fn holdings(proxy: &Binary) -> Holdings {
    let id = proxy.id();
    // Before the call below, which takes a descriptor itself.
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let page = proxy.admin.call("GET", "/metrics", None).await.text;
    let tasks = page.lines().filter(|line| line.starts_with("verdigris_tasks{"));
    Holdings {
        descriptors,
        tasks: tasks.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum(),
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

/// What it holds when all of it has started: each of its two workers has served, and let go of what it took for that. One
/// of them has a task that accepts.
async fn at_rest(proxy: &Binary) -> Holdings {
    let mut conns = [proxy.conn().await, proxy.conn().await];
    for conn in &mut conns {
        assert_eq!(conn.call(&get("/v2/health/ready")).await.status, 200);
    }
    drop(conns);
    until("every worker to be at rest", || async {
        // As below.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = holdings(proxy).await;
        if now.tasks == 1.0 { Ok(now) } else { Err(now) }
    })
    .await
}

fn open_files(proxy: &Binary) -> Vec<std::path::PathBuf> {
    let directory = fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap();
    directory.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
}

/// One fault, and when it began and was over.
#[derive(Debug)]
struct Fault {
    what: &'static str,
    began: Instant,
    ended: Instant,
}

async fn fault(round: usize, servers: &mut [Server; 2], clients: &Clients) -> Fault {
    let began = Instant::now();
    let server = &mut servers[round / 5 % 2];
    let what = match round % 5 {
        0 => {
            server.close_idle(true);
            "reset"
        }
        1 => {
            server.close_idle(false);
            "close"
        }
        2 => {
            server.signal("STOP");
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.signal("CONT");
            "stop"
        }
        3 => {
            server.kill();
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.restart().await;
            "kill"
        }
        _ => "none",
    };
    clients.more(60).await;
    Fault { what, began, ended: Instant::now() }
}

/// P1 to P5, P7 and P9 in bad weather.
///
/// Fails when: a replay, a retry or the wait for a server is lost; a request that may not be repeated is; a cut looks
/// complete; a task, a descriptor or memory is not given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_weather_shows_only_where_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let mut servers = [Server::start("blue", dir.path()).await, Server::start("green", dir.path()).await];
    let proxy = Binary::start(dir.path(), &config(&servers[0], &servers[1])).await;
    proxy.admin.until_healthy("iris").await;
    let before = at_rest(&proxy).await;

    let clients = Clients::start(proxy.addr, 2);
    clients.more(100).await;
    let (mut faults, mut switched) = (Vec::new(), 0);
    for round in 0..rounds() {
        faults.push(fault(round, &mut servers, &clients).await);
        let to = if switched % 2 == 0 { "green" } else { "blue" };
        let reply = proxy.admin.try_switch("iris", json!({"to": to})).await;
        assert!(matches!(reply.status, 200 | 409), "{}", reply.text);
        switched += usize::from(reply.status == 200);
        clients.more(20).await;
    }
    let loaded = holdings(&proxy).await;
    let samples = clients.finish().await;

    let mut fates = HashMap::new();
    servers.iter().for_each(|server| server.read_journal(&mut fates));
    judge(&samples, &fates, &faults);
    assert!(switched >= rounds() / 2, "only {switched} of {} switches took place", rounds());
    given_back(&proxy, before, loaded).await;
}

/// Everything but what a slot keeps for itself is given back.
async fn given_back(proxy: &Binary, before: Holdings, loaded: Holdings) {
    assert!(loaded.tasks > before.tasks, "the gauge shows the load: {before:?} {loaded:?}");
    until("tasks and descriptors to be given back", || async {
        // Each look is an admin connection of its own: the next one must not come before the proxy has let go of the last.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = holdings(proxy).await;
        let same = now.tasks <= before.tasks && now.descriptors <= before.descriptors;
        if same { Ok(()) } else { Err((before, now, open_files(proxy), fs::read_to_string("/proc/net/tcp").unwrap())) }
    })
    .await;
    let after = holdings(proxy).await;
    // The allocator keeps a part of what the load had at its height; a leak would grow with the rounds.
    assert!(after.memory_kib < before.memory_kib + 24 * 1024, "{before:?} {loaded:?} {after:?}");
}

/// Everything that the rules do not allow, in words.
#[allow(clippy::print_stdout, reason = "the figures of the soak are wanted")]
fn judge(samples: &[Sample], fates: &HashMap<String, Fate>, faults: &[Fault]) {
    let none = Fate::default();
    let (mut visible, mut wrong): (HashMap<Kind, usize>, Vec<String>) = Default::default();
    for sample in samples {
        let fate = fates.get(&sample.id).unwrap_or(&none);
        if let Some(rule) = broken_rule(sample, fate, faults) {
            let (id, result) = (&sample.id, &sample.result);
            wrong.push(format!("{rule}: {id} {result:?} {fate:?} {}", weather(sample, faults)));
        }
        *visible.entry(sample.kind).or_default() += usize::from(sample.result.is_err());
    }
    for kind in Kind::ALL {
        let count = samples.iter().filter(|sample| sample.kind == kind).count();
        println!("{kind:?}: {count} requests, {} visible failures", visible.get(&kind).unwrap_or(&0));
        if count < 20 {
            wrong.push(format!("only {count} of {kind:?}: the soak proves too little"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), samples.len(), wrong[..wrong.len().min(12)].join("\n"));
}

fn broken_rule(sample: &Sample, fate: &Fate, faults: &[Fault]) -> Option<&'static str> {
    let failed = sample.result.is_err();
    let endless = sample.result == Err("no end after 12 s".to_owned());
    // A failure is visible exactly if the server did not end what it had begun. In the instant between its two notes
    // both are right.
    let ends_with_its_server = if failed { fate.answered == 0 } else { fate.answering > 0 };
    match sample.kind {
        _ if endless => Some("it hung"),
        kind if kind.must_never_fail() && failed => Some("it may be sent again, and failed"),
        Kind::Order if fate.received > 1 => Some("it was done twice"),
        Kind::Order | Kind::Stream if !ends_with_its_server => Some("both sides disagree"),
        Kind::Tunnel | Kind::Grpc if failed && !during_a_kill(sample, faults) => Some("it failed in fair weather"),
        _ => None,
    }
}

fn during_a_kill(sample: &Sample, faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.what == "kill" && overlaps(sample, fault))
}

fn overlaps(sample: &Sample, fault: &Fault) -> bool {
    sample.started <= fault.ended && sample.ended >= fault.began
}

fn weather(sample: &Sample, faults: &[Fault]) -> String {
    let around = faults.iter().filter(|fault| overlaps(sample, fault)).map(|fault| fault.what);
    format!("took {:?}, weather: {:?}", sample.ended - sample.started, around.collect::<Vec<_>>())
}
