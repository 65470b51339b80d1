//! Picks the endpoint of a slot: power of two choices on requests in flight, among the healthiest.

use std::{cell::Cell, rc::Rc, sync::Arc};

use super::{Endpoint, Pool, PoolLimits};
use crate::{api::EndpointHealth, ids::EndpointId};

/// A worker's own side of an endpoint: its pools and what this worker has in flight there.
#[derive(Debug)]
pub struct LocalEndpoint {
    pub endpoint: Arc<Endpoint>,
    pub http: Option<Pool>,
    /// Only if gRPC has an address of its own.
    own_grpc: Option<Pool>,
    in_flight: Cell<usize>,
}

impl LocalEndpoint {
    pub fn new(endpoint: Arc<Endpoint>, limits: &PoolLimits) -> Self {
        let pool = |is_grpc| Pool::new(endpoint.clone(), is_grpc, limits);
        Self {
            http: endpoint.http().map(|_| pool(false)),
            own_grpc: endpoint.own_grpc().map(|_| pool(true)),
            in_flight: Cell::new(0),
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
}

/// Counts one request at an endpoint.
#[derive(Debug)]
pub struct InFlight(Rc<LocalEndpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// A worker's source of choices: xorshift, seeded, so that a test can repeat it.
#[derive(Debug)]
pub struct Balancer {
    state: Cell<u64>,
}

impl Balancer {
    pub fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed | 1) }
    }

    fn next(&self) -> u64 {
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        x
    }

    /// An endpoint, healthy ones first, then those not probed yet, then the rest: a probe may lie, so that trying beats
    /// refusing. `avoid` is taken only when there is no other of the same standing or better left.
    pub fn pick<'a>(
        &self,
        endpoints: &'a [Rc<LocalEndpoint>],
        avoid: Option<EndpointId>,
    ) -> Option<&'a Rc<LocalEndpoint>> {
        if let [only] = endpoints {
            return Some(only);
        }
        [EndpointHealth::Healthy, EndpointHealth::Unknown, EndpointHealth::Unhealthy]
            .into_iter()
            .find_map(|standing| self.pick_of(endpoints, standing, avoid))
            .or_else(|| endpoints.first())
    }

    fn pick_of<'a>(
        &self,
        endpoints: &'a [Rc<LocalEndpoint>],
        standing: EndpointHealth,
        avoid: Option<EndpointId>,
    ) -> Option<&'a Rc<LocalEndpoint>> {
        let fits = |local: &&Rc<LocalEndpoint>| local.endpoint.health() == standing && Some(local.endpoint.id) != avoid;
        let candidates = || endpoints.iter().filter(fits);
        let count = candidates().count();
        if count == 0 {
            return None;
        }
        let draw = self.next() as usize;
        let (first, second) = (draw % count, (draw >> 32) % count);
        let (first, second) = (candidates().nth(first)?, candidates().nth(second)?);
        Some(if second.in_flight.get() < first.in_flight.get() { second } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::EndpointSettings;
    use std::time::{Duration, Instant};

    fn three() -> Vec<Rc<LocalEndpoint>> {
        let limits =
            PoolLimits { idle_timeout: Duration::from_secs(4), idle_max: 1, connect_timeout: Duration::from_secs(1) };
        let endpoint = || Arc::new(Endpoint::new(&EndpointSettings { http: None, grpc: None }));
        (0..3).map(|_| Rc::new(LocalEndpoint::new(endpoint(), &limits))).collect()
    }

    #[test]
    fn healthy_endpoints_are_taken_first_and_evenly() {
        let endpoints = three();
        let balancer = Balancer::new(7);
        for healthy in &endpoints[..2] {
            healthy.endpoint.prove(String::new(), Instant::now(), 1);
        }
        let mut counts = [0_usize; 3];
        for _ in 0..1000 {
            let picked = balancer.pick(&endpoints, None).unwrap();
            counts[endpoints.iter().position(|local| Rc::ptr_eq(local, picked)).unwrap()] += 1;
        }
        assert_eq!(counts[2], 0, "an endpoint that is not healthy gets nothing while others are");
        assert!(counts[0].abs_diff(counts[1]) < 200, "{counts:?}");
    }

    #[test]
    fn the_less_loaded_of_two_is_taken() {
        let endpoints = three();
        let balancer = Balancer::new(7);
        let mut guards = Vec::new();
        for _ in 0..300 {
            guards.push(balancer.pick(&endpoints, None).unwrap().enter());
        }
        for local in &endpoints {
            assert!(local.in_flight.get().abs_diff(100) < 10, "{}", local.in_flight.get());
        }
        drop(guards);
        assert!(endpoints.iter().all(|local| local.in_flight.get() == 0));
    }

    #[test]
    fn a_failed_endpoint_is_avoided_while_there_is_another() {
        let endpoints = three();
        let balancer = Balancer::new(7);
        let avoid = endpoints[1].endpoint.id;
        for _ in 0..100 {
            assert_ne!(balancer.pick(&endpoints, Some(avoid)).unwrap().endpoint.id, avoid);
        }
        assert_eq!(balancer.pick(&endpoints[1..2], Some(avoid)).unwrap().endpoint.id, avoid);
    }
}
