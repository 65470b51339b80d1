//! A worker's own side of an endpoint: its pools, what this worker has in flight there, and how quickly it answers.
//!
//! The latency is a peak-EWMA, as in Finagle, linkerd and tower's `load::PeakEwma`: a slower answer is believed at once,
//! quicker ones only little by little, and what is known fades while nothing is asked, so that a slow endpoint is
//! tried again.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Endpoint, Pool, PoolLimits};

/// How long it takes for what is known of an endpoint's latency to fade to a third.
const DECAY: Duration = Duration::from_secs(10);

/// A worker's own side of an endpoint.
#[derive(Debug)]
pub struct LocalEndpoint {
    pub endpoint: Arc<Endpoint>,
    pub http: Option<Pool>,
    /// Only if gRPC has an address of its own.
    own_grpc: Option<Pool>,
    in_flight: Cell<usize>,
    latency: Cell<Option<Latency>>,
    /// Somebody compares this endpoint with others by latency; else nothing is measured.
    measured: Cell<bool>,
    /// When it was picked last, by the balancer's count.
    pub(super) turn: Cell<u64>,
}

/// A peak-EWMA of the time to the first byte of an answer.
#[derive(Clone, Copy, Debug)]
struct Latency {
    seconds: f64,
    at: Instant,
}

impl LocalEndpoint {
    pub fn new(endpoint: Arc<Endpoint>, limits: &PoolLimits) -> Self {
        let pool = |is_grpc| Pool::new(endpoint.clone(), is_grpc, limits);
        Self {
            http: endpoint.http().map(|_| pool(false)),
            own_grpc: endpoint.own_grpc().map(|_| pool(true)),
            in_flight: Cell::new(0),
            latency: Cell::new(None),
            measured: Cell::new(false),
            turn: Cell::new(0),
            endpoint,
        }
    }

    /// The pool that takes gRPC calls.
    pub fn grpc(&self) -> Option<&Pool> {
        self.own_grpc.as_ref().or_else(|| self.http.as_ref().filter(|pool| pool.speaks_http2()))
    }

    /// Both pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.http.iter().chain(&self.own_grpc)
    }

    /// A request starts here. The guard counts it until it is dropped.
    pub fn enter(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.clone())
    }

    /// Connections that this worker uses here, or has idle.
    pub fn connections(&self) -> usize {
        self.in_flight() + self.pools().map(Pool::idle).sum::<usize>()
    }

    /// Requests that this worker has here, streams to their end.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// True if [`LocalEndpoint::observe_latency`] has a use: a clock need not be read for it otherwise.
    pub fn is_measured(&self) -> bool {
        self.measured.get()
    }

    pub(super) fn measure(&self) {
        self.measured.set(true);
    }

    /// Takes in how long an answer took to begin, counted from when its request was sent.
    pub fn observe_latency(&self, took: Duration) {
        if self.measured.get() {
            self.observe_latency_at(took, Instant::now());
        }
    }

    pub(super) fn observe_latency_at(&self, took: Duration, now: Instant) {
        let seen = took.as_secs_f64();
        let seconds = match self.latency.get() {
            Some(known) if seen < known.seconds => {
                let kept = known.kept(now);
                known.seconds * kept + seen * (1.0 - kept)
            }
            _ => seen,
        };
        self.latency.set(Some(Latency { seconds, at: now }));
    }

    /// What a request here is expected to cost: the faded latency, times the requests it would share the endpoint with.
    /// An endpoint that has not answered yet is tried with one request, and with more only if there is no other.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let requests = self.in_flight.get() as f64;
        match self.latency.get() {
            Some(known) => known.seconds * known.kept(now) * (requests + 1.0),
            None if requests == 0.0 => 0.0,
            None => f64::MAX / 2.0 * (1.0 - 1.0 / (requests + 1.0)),
        }
    }
}

impl Latency {
    /// The share of what is known that still holds.
    fn kept(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

/// Counts one request at an endpoint.
#[derive(Debug)]
pub struct InFlight(Rc<LocalEndpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::tests::endpoints;

    const MILLI: f64 = 0.001;

    #[test]
    fn a_peak_is_believed_at_once_and_forgotten_slowly() {
        let all = endpoints(1);
        let (local, start) = (&all[0], Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        local.observe_latency_at(Duration::from_millis(10), at(0));
        assert!((local.cost(at(0)) - 10.0 * MILLI).abs() < 1e-9);
        local.observe_latency_at(Duration::from_millis(500), at(0));
        assert!((local.cost(at(0)) - 500.0 * MILLI).abs() < 1e-9, "slower: at once");
        local.observe_latency_at(Duration::from_millis(10), at(10));
        let expected = 500.0 * (-1.0_f64).exp() + 10.0 * (1.0 - (-1.0_f64).exp());
        assert!((local.cost(at(10)) - expected * MILLI).abs() < 1e-9, "quicker: by a decay time's share");
        assert!((local.cost(at(20)) - expected * (-1.0_f64).exp() * MILLI).abs() < 1e-9, "it fades by itself");
        let _busy = (local.enter(), local.enter());
        assert!((local.cost(at(10)) - 3.0 * expected * MILLI).abs() < 1e-9, "times what is there");
    }

    #[test]
    fn an_endpoint_without_an_answer_yet_gets_one_request_at_a_time() {
        let all = endpoints(2);
        let now = Instant::now();
        all[0].observe_latency_at(Duration::from_secs(600), now);
        assert!(all[1].cost(now) < all[0].cost(now));
        let _first = all[1].enter();
        assert!(all[1].cost(now) > all[0].cost(now));
        let one = all[1].cost(now);
        let _second = all[1].enter();
        assert!(all[1].cost(now) > one);
    }
}
