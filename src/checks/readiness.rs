//! The readiness step: do the slot's endpoints say, on new connections, that they are ready?

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
    pub demand: Demand,
}

/// What a slot must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Every endpoint is ready: the slot is to take all traffic with all its replicas.
    EveryEndpoint,
    /// One endpoint is ready, which is what a rollback needs: it must be possible to a slot that is half broken, and it
    /// must be quick. The running probes' word is taken for endpoints that do not answer within a short time, and only
    /// for these: one that refuses, or answers that it is not ready, is believed.
    OneLive,
}

/// How long a rollback waits for an endpoint's answer before it takes the running probes' word.
const ONE_LIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the probes of a gate have seen; `None` of an endpoint whose answer was not waited for.
type Seen = Vec<Option<ProbeResult>>;

/// Runs the gate. A probe that passes counts as proof: the endpoint is healthy from then on. Ends within the service's
/// probe time-out. Cancelling the future gives the probes up.
pub async fn run_gate(mut gate: Gate) -> GateReport {
    let started = Instant::now();
    let (passed, evidence) = if gate.endpoints.is_empty() {
        (false, vec!["the slot has no endpoints".to_owned()])
    } else {
        if gate.demand == Demand::OneLive {
            gate.health.timeout = gate.health.timeout.min(ONE_LIVE_TIMEOUT);
        }
        let seen = probe_all(&gate).await;
        judge(&gate, &seen)
    };
    let step = GateStep {
        name: "readiness".to_owned(),
        result: if passed { StepResult::Pass } else { StepResult::Fail },
        evidence,
        took_ms: millis(started.elapsed()),
    };
    GateReport { passed, steps: vec![step] }
}

/// Probes every endpoint at the same time, until enough is known.
async fn probe_all(gate: &Gate) -> Seen {
    let mut probes = JoinSet::new();
    for (index, endpoint) in gate.endpoints.iter().enumerate() {
        let (endpoint, health) = (endpoint.clone(), gate.health.clone());
        probes.spawn(async move { (index, probe(&endpoint, &health).await) });
    }
    let mut seen: Seen = vec![None; gate.endpoints.len()];
    while let Some(joined) = probes.join_next().await {
        let Ok((index, result)) = joined else { continue };
        if result.ready {
            gate.endpoints[index].prove(result.detail.clone(), Instant::now(), gate.health.rise);
        }
        let enough = result.ready && gate.demand == Demand::OneLive;
        seen[index] = Some(result);
        if enough {
            break;
        }
    }
    seen
}

fn judge(gate: &Gate, seen: &Seen) -> (bool, Vec<String>) {
    let mut evidence: Vec<_> =
        gate.endpoints.iter().zip(seen).map(|(one, seen)| in_words(one, seen.as_ref())).collect();
    let ready = seen.iter().flatten().filter(|result| result.ready).count();
    let all = gate.endpoints.len();
    let passed = match gate.demand {
        Demand::EveryEndpoint => ready == all,
        Demand::OneLive if ready > 0 => {
            if all > 1 {
                evidence.push("one ready endpoint is enough for a rollback".to_owned());
            }
            true
        }
        Demand::OneLive => {
            let trusted = gate.endpoints.iter().zip(seen).find_map(|(one, seen)| trusted(one, seen.as_ref(), gate));
            evidence.extend(trusted.clone());
            trusted.is_some()
        }
    };
    (passed, evidence)
}

fn in_words(endpoint: &Endpoint, seen: Option<&ProbeResult>) -> String {
    match seen {
        Some(result) => format!("{}: {} ({} ms)", endpoint.settings, result.detail, millis(result.took)),
        None => format!("{}: not waited for", endpoint.settings),
    }
}

/// The running probes' word for an endpoint that did not answer in time: under load, readiness is slow first.
fn trusted(endpoint: &Endpoint, seen: Option<&ProbeResult>, gate: &Gate) -> Option<String> {
    let slow = seen.is_some_and(|result| !result.ready && result.took >= gate.health.timeout);
    if !slow || endpoint.health() != EndpointHealth::Healthy {
        return None;
    }
    let ago = endpoint.probed_ago(Instant::now()).map(millis).unwrap_or_default();
    Some(format!("{}: healthy by its running probes: {} ({ago} ms ago)", endpoint.settings, endpoint.view().detail))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
