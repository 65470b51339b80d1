//! One replica of a slot: its addresses and its health. Health is its own; what the slot is to the service is another
//! matter and kept elsewhere.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{Target, TlsClient, ejection::Ejection, stamp::Stamp};
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
    /// When it became healthy last.
    healthy_since: Stamp,
    ejection: Ejection,
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
    /// An endpoint whose health is not known yet. With TLS it is known by the system's roots.
    pub fn new(settings: &EndpointSettings) -> Self {
        Self::with_tls(settings, &TlsClient::plain())
    }

    /// An endpoint that is known by, and shown, what `tls` says.
    pub fn with_tls(settings: &EndpointSettings, tls: &TlsClient) -> Self {
        Self {
            id: EndpointId(NEXT_ID.fetch_add(1, Relaxed)),
            settings: settings.clone(),
            http: settings.http.as_ref().map(|url| Target::new(url, tls)),
            grpc: settings.grpc.as_ref().map(|url| Target::new(url, tls)),
            state: AtomicU8::new(UNKNOWN),
            withdrawn: AtomicBool::new(false),
            record: Mutex::default(),
            healthy_since: Stamp::default(),
            ejection: Ejection::default(),
        }
    }

    /// An endpoint at the same address with other limits: what probing has seen of the old one still holds. An ejection
    /// does not: what is changed may well be what went wrong.
    pub fn successor(&self, tls: &TlsClient) -> Self {
        let next = Self::with_tls(&self.settings, tls);
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

    /// Keeps the addresses of its names fresh; never returns.
    pub(super) async fn keep_names_fresh(&self, interval: Duration) {
        let keep = async |target: Option<&Target>| match target {
            Some(target) => target.keep_fresh(interval).await,
            None => std::future::pending().await,
        };
        tokio::join!(keep(self.http()), keep(self.own_grpc()));
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
        if after == EndpointHealth::Healthy && before != after {
            self.healthy_since.set(now);
        }
        (before != after).then_some(after)
    }

    /// A gate has proven the endpoint ready: that counts as much as `rise` probes, and ends an ejection.
    pub fn prove(&self, detail: String, now: Instant, rise: u32) -> bool {
        self.ejection.clear();
        self.record.lock().unwrap_or_else(PoisonError::into_inner).successes = rise.saturating_sub(1);
        self.observe(true, detail, now, rise, 1).is_some()
    }

    pub(super) fn ejection(&self) -> &Ejection {
        &self.ejection
    }

    /// True while it is left out because requests failed here.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejection.left(now).is_some()
    }

    /// How long it will still be left out.
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        self.ejection.left(now)
    }

    /// Ejections so far.
    pub fn ejections(&self) -> u64 {
        self.ejection.total()
    }

    /// The part of its share that it gets, from 0 to 1: it grows evenly over `slow_start` after the endpoint has become
    /// healthy, or has come back from an ejection.
    pub(super) fn warmth(&self, slow_start: Duration, now: Instant) -> f64 {
        let since = [self.healthy_since.age(now), self.ejection.ended_ago(now)].into_iter().flatten().min();
        match since {
            Some(age) if age < slow_start => age.as_secs_f64() / slow_start.as_secs_f64(),
            _ => 1.0,
        }
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
