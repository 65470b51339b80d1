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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{checks::golden::Set, config, ids::Slot, upstream::Endpoint};

    const CONFIG: &str = r#"
version = 1
[[service]]
name = "iris"
[service.blue]
endpoints = ["http://127.0.0.1:1"]
[service.green]
endpoints = ["http://127.0.0.1:2", "http://127.0.0.1:3"]
[service.health]
path = "/ready"
interval = "2s"
[service.gate]
ready = 3
golden = "golden.jsonl"
"#;
    const GOLDEN: &str =
        "{\"golden\": 1}\n{\"name\": \"a\", \"request\": {\"path\": \"/a\"}, \"expect\": {\"status\": 200}}\n";

    fn gate(demand: Demand) -> Gate {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdigris.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let settings = config::load(&path).unwrap().settings.services[0].clone();
        let endpoints = |slot| settings.slots[slot].endpoints.iter().map(|one| Arc::new(Endpoint::new(one))).collect();
        let golden = Some(Arc::new(Set::parse(GOLDEN, Path::new("golden.jsonl")).unwrap()));
        Gate { endpoints: endpoints(Slot::Green), active: endpoints(Slot::Blue), settings, demand, golden }
    }

    fn words(gate: &Gate) -> Vec<(String, String)> {
        planned(gate).into_iter().map(|step| (step.name, step.what)).collect()
    }

    /// Fails when: a number, a file or a server is left out that decides what the gate costs.
    #[test]
    fn steps_are_told_with_what_they_cost() {
        let steps = words(&gate(Demand::EveryEndpoint));
        let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..3], ["readiness", "contract", "golden"]);
        assert_eq!(
            steps[0].1,
            "GET /ready to 2 endpoints of the slot (http://127.0.0.1:2, http://127.0.0.1:3), 3 times in a row, 2s apart; \
             all must be ready"
        );
        assert_eq!(steps[1].1, "what each endpoint says of its models is compared with what http://127.0.0.1:1 says");
        assert!(steps[2].1.starts_with("1 golden request of "), "{}", steps[2].1);
        assert!(steps[2].1.ends_with("golden.jsonl to each of 2 endpoints, 2 in all"), "{}", steps[2].1);
    }

    #[test]
    fn what_would_not_be_asked_says_why() {
        let whole = gate(Demand::EveryEndpoint);
        let bare = Gate { golden: None, active: Vec::new(), endpoints: Vec::new(), ..whole };
        let steps = words(&bare);
        assert_eq!(steps[0].1, "would fail: the slot has no endpoints");
        assert!(steps[1].1.starts_with("skipped: there is no other slot"), "{}", steps[1].1);
        assert_eq!(steps[2].1, "skipped: service.gate.golden names no file");
        let back = words(&gate(Demand::OneLive));
        assert_eq!(back.len(), 1);
        assert!(back[0].1.ends_with("one ready is enough"), "{}", back[0].1);
    }
}
