//! The step: every endpoint at the same time, and what they came to.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::Instant as Deadline};

use super::{
    furnace::{Furnace, Heat, Seen, lock},
    rule::{Verdict, Window, in_ms, in_words},
    sample::choose,
};
use crate::checks::{
    ask::whole_millis,
    gate::{Finding, Gate},
    golden::Set,
    progress::Progress,
};

/// Warms every endpoint of the gate until `until`, at most for `service.gate.warm_up`. Each must be warm, or at least not
/// cold. Dropping the future gives all of it up.
pub(in crate::checks) async fn warm_up(gate: &Gate, until: Deadline, progress: &Progress) -> Finding {
    let Some(set) = &gate.warm_up else {
        return Finding::skipped("no requests: service.gate.golden or service.gate.warm_up_requests names some");
    };
    if gate.active.is_empty() {
        return Finding::skipped("the slot serves already, and its users keep it warm");
    }
    let started = Instant::now();
    let until = until.min(Deadline::now() + gate.settings.gate.warm_up);
    let told = Told::new(gate, progress);
    let (mut running, mut lines) = (JoinSet::new(), vec![None; gate.endpoints.len()]);
    for (index, furnace) in furnaces(gate, set, until).into_iter().enumerate() {
        let Some(furnace) = furnace else { continue };
        let told = told.clone();
        running.spawn(async move {
            let heat = furnace.heat(|windows| told.tell(index, windows)).await;
            (index, report(&furnace, &heat, started.elapsed()))
        });
    }
    while let Some(joined) = running.join_next().await {
        if let Ok((index, report)) = joined {
            lines[index] = Some(report);
        }
    }
    finding(gate, set, lines)
}

/// One for each endpoint that has an address for some of the requests.
fn furnaces(gate: &Gate, set: &Arc<Set>, until: Deadline) -> Vec<Option<Arc<Furnace>>> {
    let furnace = |endpoint: &Arc<_>| {
        let chosen = choose(set, endpoint);
        let limit = until.saturating_duration_since(Deadline::now());
        (!chosen.is_empty()).then(|| {
            Arc::new(Furnace {
                endpoint: endpoint.clone(),
                set: set.clone(),
                settings: gate.settings.clone(),
                chosen,
                until,
                limit,
                kept: Mutex::default(),
                seen: Mutex::default(),
            })
        })
    };
    gate.endpoints.iter().map(furnace).collect()
}

/// What is said of one endpoint.
#[derive(Clone, Debug)]
struct Report {
    passed: bool,
    lines: Vec<String>,
}

fn finding(gate: &Gate, set: &Set, reports: Vec<Option<Report>>) -> Finding {
    let (mut passed, mut evidence) = (true, Vec::new());
    if reports.iter().all(Option::is_none) {
        return Finding::skipped("no request of the file is for an address that the endpoints have");
    }
    for (endpoint, report) in gate.endpoints.iter().zip(reports) {
        match report {
            Some(report) => {
                passed &= report.passed;
                evidence.extend(report.lines);
            }
            None if choose(set, endpoint).is_empty() => {
                evidence.push(format!("{}: no request is for an address that it has", endpoint.settings));
            }
            None => {
                passed = false;
                evidence.push(format!("{}: the warm-up broke off", endpoint.settings));
            }
        }
    }
    Finding::of(passed, evidence)
}

fn report(furnace: &Furnace, heat: &Heat, took: Duration) -> Report {
    let (seen, windows) = (lock(&furnace.seen), &heat.windows);
    let (endpoint, limit) = (&furnace.endpoint.settings, humantime::format_duration(whole_millis(furnace.limit)));
    let summary = || format!("first answer after {}; {}", first(&seen), in_words(windows));
    let sent = format!("{} requests in {} ms", seen.sent, took.as_millis());
    let (passed, lines) = match &heat.verdict {
        Some(Verdict::Warm) => (true, vec![format!("{endpoint}: warm: {}; {sent}", summary())]),
        Some(Verdict::Unsettled(why)) => (
            true,
            vec![
                format!("{endpoint}: taken for warm after {}: {why}", humantime::format_duration(whole_millis(took))),
                format!("- first answer after {}; {sent}", first(&seen)),
            ],
        ),
        Some(Verdict::Cold(why)) => (
            false,
            vec![
                format!("{endpoint}: not warm within {limit}: {why}"),
                format!("- first answer after {}; {sent}; more time: service.gate.warm_up", first(&seen)),
            ],
        ),
        Some(Verdict::Ask(_)) | None => (false, failures(furnace, &seen, &sent)),
    };
    Report { passed, lines }
}

fn first(seen: &Seen) -> String {
    seen.first.map_or_else(|| "no time, since none came".to_owned(), in_ms)
}

fn failures(furnace: &Furnace, seen: &Seen, sent: &str) -> Vec<String> {
    let mut lines =
        vec![format!("{}: requests failed: {} different ones; {sent}", furnace.endpoint.settings, seen.failed.len())];
    for (index, reason) in seen.failed.iter().take(FAILURES_SHOWN) {
        let case = furnace.set.cases().get(*index);
        let name = case.map_or_else(String::new, |case| format!("{} (line {}): ", case.name(), case.line()));
        lines.push(format!("- {name}{reason}"));
    }
    lines
}

/// Says how far each endpoint is.
#[derive(Clone)]
struct Told {
    endpoints: Arc<Mutex<Vec<(String, String)>>>,
    progress: Progress,
}

impl Told {
    fn new(gate: &Gate, progress: &Progress) -> Self {
        let names = gate.endpoints.iter().map(|endpoint| (endpoint.settings.to_string(), String::new())).collect();
        Self { endpoints: Arc::new(Mutex::new(names)), progress: progress.clone() }
    }

    fn tell(&self, index: usize, windows: &[Window]) {
        let Some(last) = windows.last() else { return };
        let group = windows.iter().rposition(|window| window.at_once != last.at_once).map_or(0, |other| other + 1);
        let mut endpoints = lock(&self.endpoints);
        if let Some((_, words)) = endpoints.get_mut(index) {
            *words = in_words(&windows[group..]);
        }
        let told: Vec<_> = endpoints.iter().filter(|(_, words)| !words.is_empty()).collect();
        let words = match (endpoints.len(), told.as_slice()) {
            (1, [(_, words)]) => words.clone(),
            (_, several) => {
                let some = several.iter().take(ENDPOINTS_TOLD).map(|(name, words)| format!("{name}: {words}"));
                some.collect::<Vec<_>>().join("; ")
            }
        };
        self.progress.detail(words);
    }
}

/// Failures that are told of each endpoint.
const FAILURES_SHOWN: usize = 3;
/// Endpoints whose progress is told.
const ENDPOINTS_TOLD: usize = 3;
