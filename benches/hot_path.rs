//! What every request pays for being switchable: a look at the pointer, a route, a lease; and the steps beside it that touch
//! every request.
//!
//! Run with `cargo bench`. The figures are for comparing two builds on one machine; claims about other proxies come from
//! side-by-side runs only (`benches/compare/run`).

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body::Frame;
use verdigris::{
    config::{
        self,
        settings::{HeaderEdits, MatchRule, ServiceSettings},
    },
    ids::{Generation, PerSlot, Slot},
    proxy::bench::{Desk, copy, pass_on},
    shadow::{CopyBounds, Taps, Wanted},
    table::{RequestView, Routes, Service, SlotTable, Table, pointer},
    telemetry::Registry,
    upstream::{
        Balancer, Choice, Endpoint, LocalEndpoint, PoolLimits, Turnstile,
        lease::{Ledger, Tenure},
    },
};

fn main() {
    divan::main();
}

/// The newest table, when nothing has changed.
#[divan::bench]
fn table_read(bencher: Bencher<'_, '_>) {
    let (_publisher, reader) = pointer();
    let mut reader = reader();
    bencher.bench_local(|| black_box(reader.load().services.len()));
}

/// The service that takes a request, among so many that differ in their paths.
#[divan::bench(args = [1, 100, 10_000])]
fn route(bencher: Bencher<'_, '_>, services: usize) {
    let path = format!("/v2/models/m{}/infer", services / 2);
    let rule = |index| MatchRule { path_prefix: Some(format!("/v2/models/m{index}")), ..MatchRule::default() };
    find(bencher, (0..services).map(rule), "models.test", &path);
}

/// The same among wildcard hosts.
#[divan::bench(args = [1, 100, 10_000])]
fn route_by_wildcard(bencher: Bencher<'_, '_>, services: usize) {
    let host = format!("a.m{}.models.test", services / 2);
    let rule = |index| MatchRule { host: Some(format!("*.m{index}.models.test")), ..MatchRule::default() };
    find(bencher, (0..services).map(rule), &host, "/infer");
}

fn find(bencher: Bencher<'_, '_>, rules: impl Iterator<Item = MatchRule>, host: &str, path: &str) {
    let rules: Vec<MatchRule> = rules.collect();
    let routes = Routes::new(rules.iter());
    let headers = HeaderMap::new();
    let request = RequestView { host: host.as_bytes(), path, headers: &headers };
    assert!(routes.find(request).is_some());
    bencher.bench_local(|| routes.find(black_box(request)));
}

/// Taking a lease and giving it back.
#[divan::bench]
fn lease(bencher: Bencher<'_, '_>) {
    let ledger = Ledger::new(0);
    let tenure = Rc::new(Arc::new(Tenure::new(Slot::Blue, 2)));
    let now = Instant::now();
    bencher.bench_local(|| drop(black_box(ledger.acquire(&tenure, now))));
}

/// Table, route and lease in one, as a request meets them.
#[divan::bench(args = [1, 10_000])]
fn assign(bencher: Bencher<'_, '_>, services: usize) {
    let mut text = "version = 1\n".to_owned();
    for index in 0..services {
        let rule = format!("match = {{ path_prefix = \"/v2/models/m{index}\" }}");
        text += &format!(
            "[[service]]\nname = \"m{index}\"\n{rule}\n[service.blue]\nendpoints = [\"http://127.0.0.1:1\"]\n"
        );
    }
    let desk = desk(&text);
    let path = format!("/v2/models/m{}/infer", services / 2);
    let request = Request::post(path).header("host", "models.test").body(()).expect("a request");
    let (head, ()) = request.into_parts();
    assert!(desk.assign(&head));
    bencher.bench_local(|| desk.assign(black_box(&head)));
}

/// A worker with the table of this configuration.
fn desk(text: &str) -> Desk {
    let settings = config::parse(text, "bench.toml").expect("the file is right").settings;
    let registry = Registry::new(1).expect("no two metrics have one name");
    let (mut publisher, reader) = pointer();
    let services = settings.services.iter().map(|one| Arc::new(service(one, &registry))).collect();
    publisher.publish(Arc::new(Table::new(services, &Table::default())));
    Desk::new(settings.proxy.client_rules(), reader(), registry)
}

/// A service whose blue slot serves.
fn service(settings: &Arc<ServiceSettings>, registry: &Registry) -> Service {
    let slots = PerSlot::from_fn(|slot| {
        let tenure = if slot == Slot::Blue { Tenure::new(slot, 1) } else { Tenure::standby(slot) };
        Arc::new(SlotTable {
            slot,
            is_open: slot == Slot::Blue,
            version: None,
            endpoints: settings.slots[slot].endpoints.iter().map(|one| Arc::new(Endpoint::new(one))).collect(),
            tenure: Arc::new(tenure),
            metrics: registry.slot(&settings.name, slot, None),
            turnstile: Turnstile::new(None),
        })
    });
    Service { settings: settings.clone(), generation: Generation(1), active: Slot::Blue, slots, preview: None }
}

/// The endpoint that takes a request, of so many that are all well.
#[divan::bench(args = [1, 3, 1_000])]
fn pick(bencher: Bencher<'_, '_>, endpoints: usize) {
    let urls: Vec<String> = (1..=endpoints).map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
    let slot = format!("[service.blue]\nendpoints = [{}]\n", urls.join(", "));
    let text = format!("version = 1\n[[service]]\nname = \"m\"\n{slot}");
    let settings = config::parse(&text, "bench.toml").expect("the file is right").settings.services[0].clone();
    let now = Instant::now();
    let local = |wanted| {
        let endpoint = Endpoint::new(wanted);
        endpoint.prove(String::new(), now, 1);
        Rc::new(LocalEndpoint::new(Arc::new(endpoint), &pool_limits()))
    };
    let locals: Vec<_> = settings.slots.blue.endpoints.iter().map(local).collect();
    let balancer = Balancer::new(1);
    let later = now + Duration::from_secs(3_600);
    bencher.bench_local(|| black_box(balancer.pick(&locals, &settings.balance, &[], later)).is_some());
}

fn pool_limits() -> PoolLimits {
    let (idle_timeout, connect_timeout) = (Duration::from_secs(3_600), Duration::from_secs(1));
    PoolLimits { idle_timeout, idle_max: 16, connect_timeout }
}

/// As a worker's.
fn runtime() -> tokio::runtime::LocalRuntime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build_local(tokio::runtime::LocalOptions::default()).expect("a runtime")
}

/// An idle HTTP/1.1 connection out of the pool, and back.
#[divan::bench]
fn pool_checkout(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = origin.local_addr().expect("an address");
    let text = format!("version = 1\n[[service]]\nname = \"m\"\n[service.blue]\nendpoints = [\"http://{address}\"]\n");
    let settings = config::parse(&text, "bench.toml").expect("the file is right").settings.services[0].clone();
    let endpoint = Arc::new(Endpoint::new(&settings.slots.blue.endpoints[0]));
    let local = LocalEndpoint::new(endpoint, &pool_limits());
    let pool = local.http.as_ref().expect("an HTTP address");
    let now = Instant::now();
    let fresh = runtime.block_on(pool.checkout(Choice::Fresh, now, Duration::ZERO)).expect("a connection");
    fresh.give_back(now, None);
    // The connection's own task has to run once before it can take a request.
    runtime.block_on(tokio::task::yield_now());
    bencher.bench_local(|| {
        let kept = runtime.block_on(pool.checkout(Choice::Kept, now, Duration::ZERO)).expect("a connection");
        kept.give_back(now, None);
    });
}

/// The fields of a request on their way: hop-by-hop fields end, `Via` is added, edits are made.
#[divan::bench(args = [0, 4])]
fn header_fields(bencher: Bencher<'_, '_>, edits: usize) {
    let name = |index| HeaderName::from_bytes(format!("x-set-{index}").as_bytes()).expect("a name");
    let set = (0..edits).map(|index| (name(index), HeaderValue::from_static("value"))).collect();
    let edits = HeaderEdits { set, ..HeaderEdits::default() };
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "models.test"),
        (header::USER_AGENT, "python-requests/2.32"),
        (header::ACCEPT, "*/*"),
        (header::ACCEPT_ENCODING, "gzip, deflate"),
        (header::CONNECTION, "keep-alive"),
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_LENGTH, "81"),
        (header::AUTHORIZATION, "Bearer 0123456789abcdef"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    bencher.with_inputs(|| fields.clone()).bench_local_values(|mut fields| {
        pass_on(&mut fields, &edits);
        fields
    });
}

/// What a finished request leaves in the counters.
#[divan::bench]
fn metric_record(bencher: Bencher<'_, '_>) {
    let registry = Registry::new(1).expect("no two metrics have one name");
    let metrics = registry.slot(&"m".parse().expect("a name"), Slot::Blue, Some("1"));
    let took = black_box(Duration::from_micros(1_234));
    bencher.bench_local(|| {
        metrics.first_byte(0, took);
        metrics.finished(0, 200, took);
    });
}

const TOKEN: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\" token\"}}]}\n\n";
/// Tokens at a time: one alone is too short to be timed.
const TOKENS: usize = 100;

/// A token of an event stream beside a tap that copies it.
#[divan::bench]
fn sse_tap(bencher: Bencher<'_, '_>) {
    let (taps, service) = (Taps::default(), "m".parse().expect("a name"));
    let bounds = CopyBounds {
        request_bytes_max: 0,
        answer_bytes_max: usize::MAX,
        bytes_max: usize::MAX,
        at_once_max: usize::MAX,
        waiting_max: 1,
    };
    let _outlet = taps.open((&service, Slot::Blue), Wanted::default(), Vec::new(), bounds).expect("the only tap");
    let tap = taps.reader().find(&service, Slot::Blue).expect("it is open");
    let (head, ()) = Request::post("/v1/chat/completions").body(()).expect("a request").into_parts();
    let token = Frame::data(Bytes::from_static(TOKEN));
    let bencher = bencher.with_inputs(|| tap.tee(&head, false).expect("a copy"));
    bencher.counter(ItemsCount::new(TOKENS)).bench_local_values(|tee| {
        (0..TOKENS).for_each(|_| copy(&tee, black_box(&token)));
        tee
    });
}

/// A token on its way through the relay, with what the HTTP library does to read it; nobody copies it. Many come with
/// one read of the socket.
#[divan::bench]
fn relay_token(bencher: Bencher<'_, '_>) {
    let origin = endless_stream();
    let desk =
        desk(&format!("version = 1\n[[service]]\nname = \"m\"\n[service.blue]\nendpoints = [\"http://{origin}\"]\n"));
    let runtime = runtime();
    let request = Request::get("/stream").header("host", "models.test").body(()).expect("a request");
    let mut answer = runtime.block_on(desk.ask(request)).expect("an answer");
    bencher.counter(ItemsCount::new(TOKENS)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..TOKENS {
                black_box(answer.frame().await.expect("a token"));
            }
        });
    });
}

/// A server of one answer that has no end.
fn endless_stream() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let _ = client.read(&mut [0; 4096]).expect("a request");
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        client.write_all(head).expect("a client that reads");
        let chunk = [format!("{:x}\r\n", TOKEN.len()).as_bytes(), TOKEN, b"\r\n"].concat();
        let chunks = chunk.repeat(1_000);
        // Until the bench has seen enough.
        while client.write_all(&chunks).is_ok() {}
    });
    address
}
