//! What a gate would do, without doing it.

use super::gate::{Demand, Gate};
use crate::{api::PlannedStep, config::settings::HttpProbe};

/// The steps that [`run_gate`](super::run_gate) would take, in their order and in words; one that is not configured says
/// so. Asks nothing of any server.
pub fn planned(gate: &Gate) -> Vec<PlannedStep> {
    let mut steps = vec![step("readiness", readiness(gate))];
    if gate.demand == Demand::EveryEndpoint {
        steps.push(step("contract", contract(gate)));
        steps.push(step("golden", golden(gate)));
    }
    steps
}

fn step(name: &str, what: String) -> PlannedStep {
    PlannedStep { name: name.to_owned(), what }
}

fn readiness(gate: &Gate) -> String {
    let (health, rounds) = (&gate.settings.health, gate.settings.gate.ready);
    let how = match &health.http {
        HttpProbe::Get { path, .. } => format!("GET {path}"),
        HttpProbe::Connect => "a connection (no readiness path is configured)".to_owned(),
    };
    let asked = format!("{how} to {} of {}", counted(gate.endpoints.len(), "endpoint"), names(gate));
    match gate.demand {
        _ if gate.endpoints.is_empty() => "would fail: the slot has no endpoints".to_owned(),
        Demand::OneLive => format!("{asked}; one ready is enough"),
        Demand::EveryEndpoint if rounds > 1 => {
            let pause = humantime::format_duration(health.interval);
            format!("{asked}, {rounds} times in a row, {pause} apart; all must be ready")
        }
        Demand::EveryEndpoint => format!("{asked}; all must be ready"),
    }
}

fn contract(gate: &Gate) -> String {
    if !gate.settings.gate.contract {
        return "skipped: service.gate.contract is false".to_owned();
    }
    if gate.active.is_empty() {
        return "skipped: there is no other slot that serves, to compare with".to_owned();
    }
    let active: Vec<_> = gate.active.iter().map(|endpoint| endpoint.settings.to_string()).collect();
    format!("what each endpoint says of its models is compared with what {} says", active.join(" or "))
}

fn golden(gate: &Gate) -> String {
    let Some(set) = &gate.golden else { return "skipped: service.gate.golden names no file".to_owned() };
    let file = gate.settings.gate.golden.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let (cases, endpoints) = (set.cases().len(), gate.endpoints.len());
    let requests = counted(cases, "golden request");
    format!("{requests} of {file} to each of {}, {} in all", counted(endpoints, "endpoint"), cases * endpoints)
}

fn names(gate: &Gate) -> String {
    let names: Vec<_> = gate.endpoints.iter().map(|endpoint| endpoint.settings.to_string()).collect();
    format!("the slot ({})", names.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
