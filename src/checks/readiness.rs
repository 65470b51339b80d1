//! The readiness step: does at least one endpoint of the slot say, on a new connection, that it is ready?

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    api::{EndpointHealth, GateReport, GateStep, StepResult},
    config::settings::HealthSettings,
    upstream::{
        Endpoint,
        health::{ProbeResult, probe},
    },
};

/// What a gate looks at.
#[derive(Clone, Debug)]
pub struct Gate {
    pub endpoints: Vec<Arc<Endpoint>>,
    pub health: HealthSettings,
    /// Take the running probes' word for an endpoint that they hold healthy: a rollback must not wait.
    pub trust_probes: bool,
}

/// Runs the gate. A probe that passes counts as proof: the endpoint is healthy from then on.
pub async fn run_gate(gate: Gate) -> GateReport {
    let started = Instant::now();
    let healthy = |endpoint: &&Arc<Endpoint>| endpoint.health() == EndpointHealth::Healthy;
    let (passed, evidence) = if gate.endpoints.is_empty() {
        (false, vec!["the slot has no endpoints".to_owned()])
    } else if gate.trust_probes
        && let Some(known) = gate.endpoints.iter().find(healthy)
    {
        (true, vec![format!("{}: healthy by its running probes: {}", known.settings, known.view().detail)])
    } else {
        probe_all(&gate).await
    };
    let step = GateStep {
        name: "readiness".to_owned(),
        result: if passed { StepResult::Pass } else { StepResult::Fail },
        evidence,
        took_ms: millis(started.elapsed()),
    };
    GateReport { passed, steps: vec![step] }
}

/// Probes every endpoint at the same time; one that is ready is enough.
async fn probe_all(gate: &Gate) -> (bool, Vec<String>) {
    let mut probes = JoinSet::new();
    for (index, endpoint) in gate.endpoints.iter().enumerate() {
        let (endpoint, health) = (endpoint.clone(), gate.health.clone());
        probes.spawn(async move { (index, probe(&endpoint, &health).await) });
    }
    let mut results: Vec<(usize, ProbeResult)> = Vec::new();
    while let Some(joined) = probes.join_next().await {
        results.extend(joined.ok());
    }
    results.sort_by_key(|(index, _)| *index);
    let mut passed = false;
    let mut evidence = Vec::with_capacity(results.len());
    for (index, result) in results {
        let endpoint = &gate.endpoints[index];
        if result.ready {
            passed = true;
            endpoint.prove(result.detail.clone(), Instant::now(), gate.health.rise);
        }
        evidence.push(format!("{}: {} ({} ms)", endpoint.settings, result.detail, millis(result.took)));
    }
    (passed, evidence)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
