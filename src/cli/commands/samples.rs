//! Answers of the admin API to draw and to serve in tests.

use crate::{
    api::{
        Action, ChangeOutcome, ChangeReply, DrainStatus, DryRun, EndpointAddresses, EndpointHealth, EndpointStatus,
        GateNews, GateProgress, GatePurpose, GateReport, GateStep, History, HistoryEntry, InFlight, Outcome,
        PlannedStep, ProxyStatus, ReloadStatus, RollbackStatus, RunningStep, ServiceList, ServiceStatus, SlotContents,
        SlotPhase, SlotStatus, StepResult, TestReply, UnderWay,
    },
    ids::{Generation, PerSlot, ServiceName, Slot},
};

pub(in crate::cli) fn iris() -> ServiceName {
    "iris".parse().unwrap()
}

pub(in crate::cli) fn draining() -> DrainStatus {
    DrainStatus {
        in_flight: InFlight { unary: 2, stream: 0, tunnel: 0, total: 2 },
        oldest_ms: Some(1_500),
        cut: 0,
        safe_to_delete: false,
        serves_on: false,
        takes_previews: false,
        why: "2 requests still running".into(),
    }
}

pub(in crate::cli) fn drained() -> DrainStatus {
    let why = "nothing runs on the slot and nothing new can start there".into();
    DrainStatus { safe_to_delete: true, why, ..DrainStatus::default() }
}

pub(in crate::cli) fn gate(passed: bool) -> GateReport {
    let (result, saw) = if passed { (StepResult::Pass, "200") } else { (StepResult::Fail, "connection refused") };
    let evidence = vec![format!("http://127.0.0.1:9002: {saw} (1 ms)")];
    GateReport { passed, steps: vec![GateStep { name: "readiness".into(), result, evidence, took_ms: 5 }] }
}

pub(in crate::cli) fn running(name: &str, detail: Option<&str>) -> RunningStep {
    RunningStep { name: name.into(), detail: detail.map(Into::into) }
}

/// News of the gate for a switch of iris to green: the steps that have passed, and the one that runs.
pub(in crate::cli) fn gate_news(passed: &[&str], running: Option<RunningStep>, over: Option<bool>) -> GateNews {
    let step = |name: &&str| GateStep { name: (*name).into(), ..gate(true).steps[0].clone() };
    GateNews {
        at: "2026-11-01T12:00:00.000Z".into(),
        service: iris(),
        slot: Slot::Green,
        purpose: GatePurpose::Switch,
        actor: "cli alice".into(),
        progress: GateProgress { steps: passed.iter().map(step).collect(), running },
        passed: over,
    }
}

pub(in crate::cli) fn under_way() -> UnderWay {
    UnderWay {
        what: "switch to blue".into(),
        slot: Slot::Blue,
        actor: "cli alice".into(),
        since: "2026-11-01T12:00:00.000Z".into(),
        cancellable: true,
        gate: GateProgress {
            steps: gate(true).steps,
            running: Some(running("golden", Some("12 of 60 golden requests"))),
        },
    }
}

pub(in crate::cli) fn dry_run(refused: Option<&str>) -> DryRun {
    let step = |name: &str, what: &str| PlannedStep { name: name.into(), what: what.into() };
    DryRun {
        service: iris(),
        generation: Generation(7),
        active: Slot::Blue,
        to: Slot::Green,
        refused: refused.map(Into::into),
        steps: vec![step("readiness", "every endpoint, 3 times in a row"), step("warm_up", "skipped: not configured")],
        drain: draining(),
        rollback: RollbackStatus {
            to: Some(Slot::Blue),
            instant: true,
            why: "1 of 1 endpoints of blue healthy".into(),
        },
        message: "iris: would switch from blue to green".into(),
    }
}

pub(in crate::cli) fn tested(passed: bool) -> TestReply {
    TestReply { service: iris(), slot: Slot::Green, under_way: false, gate: gate(passed) }
}

/// Blue → green, and blue still has work.
pub(in crate::cli) fn switched() -> ChangeReply {
    ChangeReply {
        service: iris(),
        outcome: ChangeOutcome::Switched,
        generation: Generation(8),
        active: Slot::Green,
        previous: Slot::Blue,
        forced: false,
        gate: Some(gate(true)),
        drain: Some(draining()),
        message: "iris: switched to green, generation 8".into(),
    }
}

/// Green has new contents; blue serves.
pub(in crate::cli) fn replaced() -> ChangeReply {
    ChangeReply {
        outcome: ChangeOutcome::Replaced,
        generation: Generation(7),
        active: Slot::Blue,
        gate: None,
        drain: None,
        message: "iris: green has new contents, generation 7".into(),
        ..switched()
    }
}

pub(in crate::cli) fn history() -> History {
    let forced = HistoryEntry {
        at: "2026-11-01T12:00:02.000Z".into(),
        service: iris(),
        action: Action::Switch,
        outcome: Outcome::Done,
        generation: Generation(9),
        actor: "cli alice".into(),
        from: Some(Slot::Blue),
        to: Some(Slot::Green),
        version: Some("2026-12-01".into()),
        contents: Vec::new(),
        forced: true,
        reason: Some("weekly model".into()),
        gate: Some(gate(false)),
    };
    let refused = HistoryEntry {
        at: "2026-11-01T12:00:01.000Z".into(),
        outcome: Outcome::Refused,
        generation: Generation(8),
        actor: "api 127.0.0.1".into(),
        version: Some("2026-11-01".into()),
        reason: Some("the gate failed".into()),
        ..forced.clone()
    };
    let added = HistoryEntry {
        at: "2026-11-01T12:00:00.000Z".into(),
        action: Action::Added,
        outcome: Outcome::Done,
        actor: "file config.toml".into(),
        from: None,
        to: None,
        version: None,
        contents: vec![
            put_in(Slot::Blue, &[("http://a:1", None), ("http://a:2", Some("h2c://a:3"))]),
            put_in(Slot::Green, &[]),
        ],
        forced: false,
        reason: None,
        gate: None,
        ..refused.clone()
    };
    History { entries: vec![forced, refused, added] }
}

fn put_in(slot: Slot, endpoints: &[(&str, Option<&str>)]) -> SlotContents {
    let addresses = |(http, grpc): &(&str, Option<&str>)| EndpointAddresses {
        http: Some((*http).into()),
        grpc: grpc.map(Into::into),
    };
    SlotContents { slot, version: None, endpoints: endpoints.iter().map(addresses).collect() }
}

fn endpoint(http: &str, grpc: Option<&str>, health: EndpointHealth) -> EndpointStatus {
    let (detail, probed_ms_ago) = match health {
        EndpointHealth::Healthy => ("200", Some(1_200)),
        EndpointHealth::Unknown | EndpointHealth::Unhealthy => ("connection refused", None),
    };
    EndpointStatus {
        http: Some(http.into()),
        grpc: grpc.map(Into::into),
        health,
        detail: detail.into(),
        probed_ms_ago,
        ejected_for_ms: None,
    }
}

fn busy_service() -> ServiceStatus {
    let second = endpoint("http://127.0.0.1:9002", Some("h2c://127.0.0.1:9003"), EndpointHealth::Healthy);
    let third = endpoint("http://127.0.0.1:9004", None, EndpointHealth::Unhealthy);
    let in_flight = InFlight { unary: 4, stream: 1, tunnel: 0, total: 5 };
    let why = "the slot is active".into();
    ServiceStatus {
        name: iris(),
        generation: Generation(8),
        active: Slot::Green,
        matches: "path /v2/models/iris".into(),
        pending: Some("switch to blue: gate".into()),
        under_way: None,
        rollback: RollbackStatus {
            to: Some(Slot::Blue),
            instant: true,
            why: "1 of 1 endpoints of blue healthy".into(),
        },
        slots: PerSlot {
            blue: SlotStatus {
                slot: Slot::Blue,
                phase: SlotPhase::Draining,
                version: Some("2026-11-01".into()),
                endpoints: vec![endpoint("http://127.0.0.1:9001", None, EndpointHealth::Healthy)],
                drain: draining(),
                tested: None,
            },
            green: SlotStatus {
                slot: Slot::Green,
                phase: SlotPhase::Active,
                version: Some("2026-12-01".into()),
                endpoints: vec![second, third],
                drain: DrainStatus { in_flight, why, ..DrainStatus::default() },
                tested: None,
            },
        },
    }
}

fn broken_service() -> ServiceStatus {
    let slot =
        |slot, phase, endpoints| SlotStatus { slot, phase, version: None, endpoints, drain: drained(), tested: None };
    let lost = endpoint("http://127.0.0.1:9011", None, EndpointHealth::Unhealthy);
    ServiceStatus {
        name: "llama".parse().unwrap(),
        generation: Generation(1),
        active: Slot::Blue,
        matches: "everything".into(),
        pending: None,
        under_way: None,
        rollback: RollbackStatus { to: None, instant: false, why: "no slot served before".into() },
        slots: PerSlot {
            blue: slot(Slot::Blue, SlotPhase::Active, vec![lost]),
            green: slot(Slot::Green, SlotPhase::Empty, vec![]),
        },
    }
}

/// A busy service and a broken one, behind a config file that is refused.
pub(in crate::cli) fn services() -> ServiceList {
    ServiceList {
        proxy: ProxyStatus {
            version: "0.1.0".into(),
            uptime_ms: 7_800_000,
            config: "config.toml".into(),
            certificate_problems: Vec::new(),
            reload: ReloadStatus {
                ok: false,
                at: "2026-11-01T12:00:00.000Z".into(),
                problems: vec!["config.toml:3:1: proxy.listen: not an address".into()],
                needs_restart: vec![],
            },
        },
        services: vec![busy_service(), broken_service()],
    }
}
