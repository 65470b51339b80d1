//! What a gate would do, without doing it.

use super::gate::{Demand, Gate, WITHOUT_GOLDEN, WITHOUT_WARM_UP, without_contract};
use crate::{api::PlannedStep, config::settings::HttpProbe};

/// The steps that [`run_gate`](super::run_gate) would take, in their order and in words; one that is not configured says
/// so. Asks nothing of any server.
pub fn planned(gate: &Gate) -> Vec<PlannedStep> {
    let mut steps = vec![step("readiness", readiness(gate))];
    if gate.demand == Demand::EveryEndpoint {
        steps.push(step("contract", contract(gate)));
        steps.push(step("golden", golden(gate)));
        steps.push(step("warm_up", warm_up(gate)));
    }
    steps.push(step("connections", "every worker opens connections to the slot, if everything has passed".to_owned()));
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
    if let Some(why) = without_contract(gate) {
        return format!("skipped: {why}");
    }
    let active: Vec<_> = gate.active.iter().map(|endpoint| endpoint.settings.to_string()).collect();
    format!("what each endpoint says of its models is compared with what {} says", active.join(" or "))
}

fn golden(gate: &Gate) -> String {
    let Some(set) = &gate.golden else { return format!("skipped: {WITHOUT_GOLDEN}") };
    let file = gate.settings.gate.golden.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let (cases, endpoints) = (set.cases().len(), gate.endpoints.len());
    let requests = counted(cases, "golden request");
    format!("{requests} of {file} to each of {}, {} in all", counted(endpoints, "endpoint"), cases * endpoints)
}

fn warm_up(gate: &Gate) -> String {
    let settings = &gate.settings.gate;
    if gate.warm_up.is_none() || settings.warm_up.is_zero() {
        return match settings.warm_up.is_zero() {
            true => format!("skipped: {WITHOUT_WARM_UP}"),
            false => "skipped: service.gate names no golden or warm_up_requests file".to_owned(),
        };
    }
    if gate.active.is_empty() {
        return "skipped: the slot serves already".to_owned();
    }
    let file = settings.warm_up_requests.as_ref().or(settings.golden.as_ref());
    let file = file.map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "requests of {file} to each of {}, up to {} at once, until the answers come evenly; at most {}",
        counted(gate.endpoints.len(), "endpoint"),
        settings.warm_up_concurrency,
        humantime::format_duration(settings.warm_up.min(settings.timeout))
    )
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
        let (warm_up, connect) = (golden.clone(), None);
        let (endpoints, active) = (endpoints(Slot::Green), endpoints(Slot::Blue));
        Gate { endpoints, active, settings, demand, golden, warm_up, connect }
    }

    fn words(gate: &Gate) -> Vec<(String, String)> {
        planned(gate).into_iter().map(|step| (step.name, step.what)).collect()
    }

    /// Fails when: a number, a file or a server is left out that decides what the gate costs.
    #[test]
    fn steps_are_told_with_what_they_cost() {
        let steps = words(&gate(Demand::EveryEndpoint));
        let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["readiness", "contract", "golden", "warm_up", "connections"]);
        assert_eq!(
            steps[0].1,
            "GET /ready to 2 endpoints of the slot (http://127.0.0.1:2, http://127.0.0.1:3), 3 times in a row, 2s apart; \
             all must be ready"
        );
        assert_eq!(steps[1].1, "what each endpoint says of its models is compared with what http://127.0.0.1:1 says");
        assert!(steps[2].1.starts_with("1 golden request of "), "{}", steps[2].1);
        assert!(steps[2].1.ends_with("golden.jsonl to each of 2 endpoints, 2 in all"), "{}", steps[2].1);
        let end = "golden.jsonl to each of 2 endpoints, up to 8 at once, until the answers come evenly; at most 30s";
        assert!(steps[3].1.ends_with(end), "{}", steps[3].1);
    }

    #[test]
    fn what_would_not_be_asked_says_why() {
        let whole = gate(Demand::EveryEndpoint);
        let bare = Gate { golden: None, warm_up: None, active: Vec::new(), endpoints: Vec::new(), ..whole };
        let steps = words(&bare);
        assert_eq!(steps[0].1, "would fail: the slot has no endpoints");
        assert!(steps[1].1.starts_with("skipped: there is no other slot"), "{}", steps[1].1);
        assert_eq!(steps[2].1, "skipped: service.gate.golden names no file");
        assert_eq!(steps[3].1, "skipped: service.gate names no golden or warm_up_requests file");
        let back = words(&gate(Demand::OneLive));
        assert_eq!((back.len(), back[1].0.as_str()), (2, "connections"));
        assert!(back[0].1.ends_with("one ready is enough"), "{}", back[0].1);
    }
}
