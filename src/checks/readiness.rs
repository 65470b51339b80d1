//! The readiness step: do the slot's endpoints say, on new connections, that they are ready?

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::gate::{Demand, Finding, Gate, millis};
use crate::{
    api::EndpointHealth,
    config::settings::HealthSettings,
    upstream::{
        Endpoint,
        health::{ProbeResult, probe},
    },
};

/// The step under way.
struct Probing<'g> {
    endpoints: &'g [Arc<Endpoint>],
    health: HealthSettings,
    demand: Demand,
}

/// How long a rollback waits for an endpoint's answer before it takes the running probes' word.
const ONE_LIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the probes of a gate have seen; `None` of an endpoint whose answer was not waited for.
type Seen = Vec<Option<ProbeResult>>;

/// Asks every endpoint as often as `service.gate.ready` says, `service.health.interval` apart. Each time ends within the
/// probe's time-out.
pub(super) async fn readiness(gate: &Gate) -> Finding {
    if gate.endpoints.is_empty() {
        return Finding::of(false, vec!["the slot has no endpoints".to_owned()]);
    }
    let mut health = gate.settings.health.clone();
    let mut rounds = gate.settings.gate.ready;
    if gate.demand == Demand::OneLive {
        health.timeout = health.timeout.min(ONE_LIVE_TIMEOUT);
        rounds = 1;
    }
    let probing = Probing { endpoints: &gate.endpoints, health, demand: gate.demand };
    for round in 1..rounds {
        let seen = probing.probe_all(false).await;
        let (passed, mut evidence) = probing.judge(&seen);
        if !passed {
            evidence.push(format!("that was answer {round} of {rounds}; all must be good"));
            return Finding::of(false, evidence);
        }
        tokio::time::sleep(probing.health.interval).await;
    }
    let seen = probing.probe_all(true).await;
    let (passed, mut evidence) = probing.judge(&seen);
    if rounds > 1 {
        evidence.push(format!("that was the last of {rounds} answers in a row"));
    }
    Finding::of(passed, evidence)
}

impl Probing<'_> {
    /// Probes every endpoint at the same time, until enough is known. With `proves`, who passes is healthy from then on.
    async fn probe_all(&self, proves: bool) -> Seen {
        let mut probes = JoinSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let (endpoint, health) = (endpoint.clone(), self.health.clone());
            probes.spawn(async move { (index, probe(&endpoint, &health).await) });
        }
        let mut seen: Seen = vec![None; self.endpoints.len()];
        while let Some(joined) = probes.join_next().await {
            let Ok((index, result)) = joined else { continue };
            if proves && result.ready {
                self.endpoints[index].prove(result.detail.clone(), Instant::now(), self.health.rise);
            }
            let enough = result.ready && self.demand == Demand::OneLive;
            seen[index] = Some(result);
            if enough {
                break;
            }
        }
        seen
    }

    fn judge(&self, seen: &Seen) -> (bool, Vec<String>) {
        let mut evidence: Vec<_> =
            self.endpoints.iter().zip(seen).map(|(one, seen)| in_words(one, seen.as_ref())).collect();
        let ready = seen.iter().flatten().filter(|result| result.ready).count();
        let all = self.endpoints.len();
        let passed = match self.demand {
            Demand::EveryEndpoint => ready == all,
            Demand::OneLive if ready > 0 => {
                if all > 1 {
                    evidence.push("one ready endpoint is enough for a rollback".to_owned());
                }
                true
            }
            Demand::OneLive => {
                let trusted = self.endpoints.iter().zip(seen).find_map(|(one, seen)| self.trusted(one, seen.as_ref()));
                evidence.extend(trusted.clone());
                trusted.is_some()
            }
        };
        (passed, evidence)
    }

    /// The running probes' word for an endpoint that did not answer in time: under load, readiness is slow first.
    fn trusted(&self, endpoint: &Endpoint, seen: Option<&ProbeResult>) -> Option<String> {
        let slow = seen.is_some_and(|result| !result.ready && result.took >= self.health.timeout);
        if !slow || endpoint.health() != EndpointHealth::Healthy {
            return None;
        }
        let ago = endpoint.probed_ago(Instant::now()).map(millis).unwrap_or_default();
        Some(format!("{}: healthy by its running probes: {} ({ago} ms ago)", endpoint.settings, endpoint.view().detail))
    }
}

fn in_words(endpoint: &Endpoint, seen: Option<&ProbeResult>) -> String {
    match seen {
        Some(result) => format!("{}: {} ({} ms)", endpoint.settings, result.detail, millis(result.took)),
        None => format!("{}: not waited for", endpoint.settings),
    }
}
