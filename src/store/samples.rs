//! Entries and states for this room's tests.

use super::{ServiceRecord, SlotDef, SlotRecord, State};
use crate::{
    api::{Action, EndpointAddresses, GateReport, GateStep, HistoryEntry, Outcome, StepResult},
    ids::{Generation, PerSlot, ServiceName, Slot},
};

pub(super) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// A done entry without slots.
pub(super) fn entry(service: &str, action: Action, generation: u64) -> HistoryEntry {
    HistoryEntry {
        at: format!("2026-11-01T00:00:{generation:02}.000Z"),
        service: name(service),
        action,
        outcome: Outcome::Done,
        generation: Generation(generation),
        actor: "cli alice".to_owned(),
        from: None,
        to: None,
        version: None,
        contents: Vec::new(),
        forced: false,
        reason: None,
        gate: None,
    }
}

/// The slot that serves at a generation, in a service that does nothing but switch.
pub(super) fn active_at(generation: u64) -> Slot {
    if generation.is_multiple_of(2) { Slot::Green } else { Slot::Blue }
}

/// A done switch, of a service that does nothing but switch, with evidence.
pub(super) fn switched(service: &str, generation: u64) -> HistoryEntry {
    let step = GateStep {
        name: "readiness".to_owned(),
        result: StepResult::Pass,
        evidence: vec!["http://127.0.0.1:9002/v2/health/ready: 200 in 3 ms, \"ready\"\n".to_owned()],
        took_ms: 3,
    };
    HistoryEntry {
        from: Some(active_at(generation).other()),
        to: Some(active_at(generation)),
        version: Some("2026-11-01".to_owned()),
        reason: Some("größer, schneller".to_owned()),
        gate: Some(GateReport { passed: true, steps: vec![step] }),
        ..entry(service, Action::Switch, generation)
    }
}

/// The state of services that do nothing but switch.
pub(super) fn state(services: &[(&str, u64)]) -> State {
    let services = services.iter().map(|&(service, generation)| (name(service), record(generation).into()));
    State { services: services.collect(), ..State::default() }
}

fn record(generation: u64) -> ServiceRecord {
    ServiceRecord {
        generation: Generation(generation),
        active: active_at(generation),
        previous: (generation > 1).then(|| active_at(generation).other()),
        file_active: Slot::Blue,
        slots: PerSlot::from_fn(|slot| slot_record(slot, generation)),
    }
}

fn slot_record(slot: Slot, generation: u64) -> SlotRecord {
    let http = Some(format!("http://127.0.0.1:9001/{slot}"));
    let endpoints = vec![EndpointAddresses { http, grpc: None }];
    let file = SlotDef { endpoints: endpoints.clone(), version: Some("ä\"\\".to_owned()) };
    let served = generation > 1 || slot == Slot::Blue;
    SlotRecord { endpoints, version: None, file, by_api: true, served }
}

/// A directory in memory where there is such a file system: a sync costs nothing there, and these tests sync a lot.
pub(super) fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
