//! One replica of a slot: its addresses and its health. Health is its own; what the slot is to the service is another
//! matter and kept elsewhere.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::Target;
use crate::{
    api::EndpointHealth,
    config::settings::{EndpointSettings, UpstreamProtocol},
    ids::EndpointId,
};

/// One replica. Shared by all tables that name it, so that health and pools live through reloads.
#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub settings: EndpointSettings,
    http: Option<Target>,
    grpc: Option<Target>,
    state: AtomicU8,
    withdrawn: AtomicBool,
    record: Mutex<Record>,
}

/// What probing has seen.
#[derive(Debug, Default)]
struct Record {
    successes: u32,
    failures: u32,
    detail: String,
    probed: Option<Instant>,
}

/// A copy of an endpoint's health.
#[derive(Clone, Debug)]
pub struct HealthView {
    pub health: EndpointHealth,
    /// What the last probe saw.
    pub detail: String,
    pub probed: Option<Instant>,
}

const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// An endpoint whose health is not known yet.
    pub fn new(settings: &EndpointSettings) -> Self {
        Self {
            id: EndpointId(NEXT_ID.fetch_add(1, Relaxed)),
            settings: settings.clone(),
            http: settings.http.as_ref().map(Target::new),
            grpc: settings.grpc.as_ref().map(Target::new),
            state: AtomicU8::new(UNKNOWN),
            withdrawn: AtomicBool::new(false),
            record: Mutex::default(),
        }
    }

    /// An endpoint at the same address with other limits: what probing has seen of the old one still holds.
    pub fn successor(&self) -> Self {
        let next = Self::new(&self.settings);
        let HealthView { health, detail, probed } = self.view();
        next.set(health);
        *next.record.lock().unwrap_or_else(PoisonError::into_inner) = Record { detail, probed, ..Record::default() };
        next
    }

    /// The address that takes HTTP.
    pub fn http(&self) -> Option<&Target> {
        self.http.as_ref()
    }

    /// The address that takes gRPC: its own, or the HTTP one if that speaks HTTP/2.
    pub fn grpc(&self) -> Option<&Target> {
        self.grpc.as_ref().or_else(|| self.http().filter(|target| target.protocol() == UpstreamProtocol::H2c))
    }

    /// The gRPC address of its own, if there is one.
    pub fn own_grpc(&self) -> Option<&Target> {
        self.grpc.as_ref()
    }

    pub fn health(&self) -> EndpointHealth {
        match self.state.load(Relaxed) {
            HEALTHY => EndpointHealth::Healthy,
            UNHEALTHY => EndpointHealth::Unhealthy,
            _ => EndpointHealth::Unknown,
        }
    }

    /// Health with its evidence.
    pub fn view(&self) -> HealthView {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        HealthView { health: self.health(), detail: record.detail.clone(), probed: record.probed }
    }

    /// Takes a probe's result. `rise` successes in a row make it healthy, `fall` failures in a row unhealthy; from
    /// "unknown" the first failure decides. Returns the new health if it changed.
    pub fn observe(&self, ready: bool, detail: String, now: Instant, rise: u32, fall: u32) -> Option<EndpointHealth> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        (record.successes, record.failures) =
            if ready { (record.successes.saturating_add(1), 0) } else { (0, record.failures.saturating_add(1)) };
        record.detail = detail;
        record.probed = Some(now);
        let before = self.health();
        let after = match before {
            _ if record.successes >= rise => EndpointHealth::Healthy,
            EndpointHealth::Healthy if record.failures < fall => EndpointHealth::Healthy,
            _ if record.failures > 0 => EndpointHealth::Unhealthy,
            same => same,
        };
        self.set(after);
        (before != after).then_some(after)
    }

    /// A gate has proven the endpoint ready: that counts as much as `rise` probes.
    pub fn prove(&self, detail: String, now: Instant, rise: u32) -> bool {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).successes = rise.saturating_sub(1);
        self.observe(true, detail, now, rise, 1).is_some()
    }

    /// No table names it any more: workers close their pools.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Relaxed);
    }

    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }

    fn set(&self, health: EndpointHealth) {
        let state = match health {
            EndpointHealth::Unknown => UNKNOWN,
            EndpointHealth::Healthy => HEALTHY,
            EndpointHealth::Unhealthy => UNHEALTHY,
        };
        self.state.store(state, Relaxed);
    }

    /// Age of the last probe's result.
    pub fn probed_ago(&self, now: Instant) -> Option<Duration> {
        self.view().probed.map(|at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointHealth::{Healthy, Unhealthy, Unknown};

    #[test]
    fn health_rises_and_falls_by_runs_of_probes() {
        let endpoint = Endpoint::new(&EndpointSettings { http: None, grpc: None });
        let now = Instant::now();
        let observe = |ready| {
            endpoint.observe(ready, String::new(), now, 2, 3);
            endpoint.health()
        };
        assert_eq!(endpoint.health(), Unknown);
        let probes = [true, true, false, false, true, false, false, false, true, true];
        let seen: Vec<_> = probes.into_iter().map(observe).collect();
        assert_eq!(
            seen,
            [Unknown, Healthy, Healthy, Healthy, Healthy, Healthy, Healthy, Unhealthy, Unhealthy, Healthy]
        );
    }

    #[test]
    fn a_gate_proves_at_once() {
        let endpoint = Endpoint::new(&EndpointSettings { http: None, grpc: None });
        assert!(endpoint.prove("200".into(), Instant::now(), 5));
        assert_eq!(endpoint.health(), Healthy);
    }
}
