//! What every request pays for being switchable: a look at the pointer, a route, a lease.
//!
//! Run with `cargo bench`. The figures are for comparing two builds on one machine; claims about other proxies come from
//! side-by-side runs only.

use std::{hint::black_box, rc::Rc, sync::Arc, time::Instant};

use divan::Bencher;
use http::HeaderMap;
use verdigris::{
    config::settings::MatchRule,
    ids::Slot,
    table::{RequestView, Routes, pointer},
    upstream::lease::{Ledger, Tenure},
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

/// The service that takes a request, among so many.
#[divan::bench(args = [1, 100, 10_000])]
fn route(bencher: Bencher<'_, '_>, services: usize) {
    let rule = |index| MatchRule { path_prefix: Some(format!("/v2/models/m{index}")), ..MatchRule::default() };
    let rules: Vec<MatchRule> = (0..services).map(rule).collect();
    let routes = Routes::new(rules.iter());
    let headers = HeaderMap::new();
    let path = format!("/v2/models/m{}/infer", services / 2);
    bencher.bench_local(|| routes.find(black_box(RequestView { host: "models.test", path: &path, headers: &headers })));
}

/// Taking a lease and giving it back.
#[divan::bench]
fn lease(bencher: Bencher<'_, '_>) {
    let ledger = Ledger::new(0);
    let tenure = Rc::new(Arc::new(Tenure::new(Slot::Blue, 2)));
    let now = Instant::now();
    bencher.bench_local(|| drop(black_box(ledger.acquire(&tenure, now))));
}
