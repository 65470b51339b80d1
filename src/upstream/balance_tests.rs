use super::*;
use crate::{
    config::settings::{EjectionSettings, EndpointSettings},
    upstream::{Endpoint, Outcome, PoolLimits},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// So many endpoints of which nothing is known.
pub(in crate::upstream) fn endpoints(count: usize) -> Vec<Rc<LocalEndpoint>> {
    let limits =
        PoolLimits { idle_timeout: Duration::from_secs(4), idle_max: 1, connect_timeout: Duration::from_secs(1) };
    let endpoint = || Arc::new(Endpoint::new(&EndpointSettings { http: None, grpc: None }));
    (0..count).map(|_| Rc::new(LocalEndpoint::new(endpoint(), &limits))).collect()
}

const EWMA: BalanceSettings = BalanceSettings { policy: BalancePolicy::PeakEwma, slow_start: Duration::ZERO };
const LEAST: BalanceSettings = BalanceSettings { policy: BalancePolicy::LeastInFlight, slow_start: Duration::ZERO };
const TURNS: BalanceSettings = BalanceSettings { policy: BalancePolicy::RoundRobin, slow_start: Duration::ZERO };

fn position(endpoints: &[Rc<LocalEndpoint>], picked: &Rc<LocalEndpoint>) -> usize {
    endpoints.iter().position(|local| Rc::ptr_eq(local, picked)).unwrap()
}

/// How often each was picked, of so many times.
fn counts(endpoints: &[Rc<LocalEndpoint>], policy: &BalanceSettings, times: usize, now: Instant) -> Vec<usize> {
    let balancer = Balancer::new(7);
    let mut counts = vec![0; endpoints.len()];
    for _ in 0..times {
        counts[position(endpoints, balancer.pick(endpoints, policy, &[], now).unwrap())] += 1;
    }
    counts
}

#[test]
fn healthy_endpoints_are_taken_first_and_evenly() {
    let endpoints = endpoints(3);
    for healthy in &endpoints[..2] {
        healthy.endpoint.prove(String::new(), Instant::now(), 1);
    }
    for policy in [LEAST, TURNS] {
        let counts = counts(&endpoints, &policy, 1000, Instant::now());
        assert_eq!(counts[2], 0, "an endpoint that is not healthy gets nothing while others are");
        assert!(counts[0].abs_diff(counts[1]) < 100, "{counts:?}");
    }
}

#[test]
fn the_less_loaded_of_two_is_taken() {
    let endpoints = endpoints(3);
    let balancer = Balancer::new(7);
    let mut guards = Vec::new();
    for _ in 0..300 {
        guards.push(balancer.pick(&endpoints, &LEAST, &[], Instant::now()).unwrap().enter());
    }
    for local in &endpoints {
        assert!(local.in_flight().abs_diff(100) < 10, "{}", local.in_flight());
    }
    drop(guards);
    assert!(endpoints.iter().all(|local| local.in_flight() == 0));
}

#[test]
fn those_to_avoid_are_taken_only_when_nothing_else_is_left() {
    let endpoints = endpoints(3);
    let balancer = Balancer::new(7);
    let avoid = [endpoints[1].endpoint.id, endpoints[2].endpoint.id];
    let now = Instant::now();
    for policy in [EWMA, LEAST, TURNS] {
        for _ in 0..100 {
            let picked = balancer.pick(&endpoints, &policy, &avoid, now).unwrap();
            assert_eq!(position(&endpoints, picked), 0);
        }
        let picked = balancer.pick(&endpoints[1..], &policy, &avoid, now).unwrap();
        assert!(avoid.contains(&picked.endpoint.id));
        assert!(balancer.pick(&endpoints[1..2], &policy, &avoid, now).is_some());
        assert!(balancer.pick(&[], &policy, &avoid, now).is_none());
    }
}

#[test]
fn turns_are_taken_in_order_and_a_newcomer_joins_in() {
    let endpoints = endpoints(4);
    let balancer = Balancer::new(7);
    let turn = |all: &[Rc<LocalEndpoint>]| {
        let picked = balancer.pick(all, &TURNS, &[], Instant::now()).unwrap();
        position(&endpoints, picked)
    };
    let three: Vec<_> = (0..6).map(|_| turn(&endpoints[..3])).collect();
    assert_eq!(three, [0, 1, 2, 0, 1, 2]);
    let four: Vec<_> = (0..5).map(|_| turn(&endpoints)).collect();
    assert_eq!(four, [3, 0, 1, 2, 3]);
}

#[test]
fn the_slow_one_of_three_gets_little() {
    let endpoints = endpoints(3);
    let balancer = Balancer::new(7);
    let start = Instant::now();
    let mut counts = [0_usize; 3];
    // One request at a time, of which the last endpoint makes 200 ms and the others 10.
    let mut now = start;
    for _ in 0..6000 {
        let picked = balancer.pick(&endpoints, &EWMA, &[], now).unwrap();
        let index = position(&endpoints, picked);
        counts[index] += 1;
        let took = Duration::from_millis(if index == 2 { 200 } else { 10 });
        now += took;
        picked.observe_latency_at(took, now);
    }
    assert!(counts[2] < 100, "{counts:?}");
    assert!(counts[2] > 1, "it is tried again when what is known of it has faded: {counts:?}");
    assert!(counts[0].abs_diff(counts[1]) < 1500, "{counts:?}");
}

#[test]
fn one_endpoint_is_not_even_measured() {
    let endpoints = endpoints(1);
    let balancer = Balancer::new(7);
    let before = balancer.state.get();
    assert!(balancer.pick(&endpoints, &EWMA, &[], Instant::now()).is_some());
    assert!(!endpoints[0].is_measured() && balancer.state.get() == before);
}

#[test]
fn a_newcomer_gets_its_share_little_by_little() {
    let endpoints = endpoints(3);
    let start = Instant::now();
    let slow = BalanceSettings { slow_start: Duration::from_secs(10), ..LEAST };
    for old in &endpoints[..2] {
        old.endpoint.prove(String::new(), start, 1);
    }
    let joined = start + Duration::from_secs(60);
    endpoints[2].endpoint.prove(String::new(), joined, 1);
    let share = |seconds: f64| {
        let counts = counts(&endpoints, &slow, 3000, joined + Duration::from_secs_f64(seconds));
        counts[2] as f64 / 1000.0
    };
    for (seconds, expected) in [(0.0, 0.0), (2.5, 0.25), (5.0, 0.5), (7.5, 0.75), (10.0, 1.0), (60.0, 1.0)] {
        let share = share(seconds);
        assert!((share - expected).abs() < 0.12, "after {seconds} s {share} of a whole share");
    }
    let alone = [endpoints[2].clone(), self::endpoints(1).remove(0)];
    let counts = counts(&alone, &slow, 100, joined);
    assert_eq!(counts[0], 100, "a slow starter is still better than one that nobody has probed");
}

#[test]
fn ejected_ones_are_taken_only_when_nothing_else_is_left() {
    let endpoints = endpoints(2);
    let now = Instant::now();
    let once = EjectionSettings {
        failures: Some(1),
        time: Duration::from_secs(10),
        time_max: Duration::from_secs(60),
        share_max: 50,
    };
    for local in &endpoints {
        local.endpoint.prove(String::new(), now, 1);
    }
    endpoints[0].outcome_at(Outcome::Failed, &endpoints, &once, now);
    assert!(endpoints[0].endpoint.is_ejected(now));
    for policy in [EWMA, LEAST, TURNS] {
        assert_eq!(counts(&endpoints, &policy, 100, now)[0], 0);
    }
    let balancer = Balancer::new(7);
    let avoid = [endpoints[1].endpoint.id];
    let picked = balancer.pick(&endpoints, &EWMA, &avoid, now).unwrap();
    assert_eq!(position(&endpoints, picked), 0, "rather the ejected one than one that has just failed this request");
    assert!(counts(&endpoints, &TURNS, 100, now + Duration::from_secs(11))[0] > 40, "it returns");
}

/// Fails when: `two_of_the_best` looks at all, draws one twice, or takes one that something speaks against.
#[test]
fn of_a_hundred_two_are_looked_at_and_all_get_their_share() {
    let endpoints = endpoints(100);
    let balancer = Balancer::new(7);
    let looks = Cell::new(0);
    let (mut counts, mut found) = (vec![0_u32; endpoints.len()], 0);
    for _ in 0..20_000 {
        // Of each ten, something speaks against one.
        let standing = |local: &Rc<LocalEndpoint>| {
            looks.set(looks.get() + 1);
            u8::from(local.endpoint.id.0.is_multiple_of(10))
        };
        if let Some((one, other)) = balancer.two_of_the_best(&endpoints, standing) {
            assert!(!Rc::ptr_eq(one, other));
            found += 1;
            for local in [one, other] {
                counts[position(&endpoints, local)] += 1;
            }
        }
    }
    assert!(looks.get() < 60_000, "{looks:?}");
    assert!(found > 19_800, "{found}");
    for (local, count) in endpoints.iter().zip(counts) {
        let fits = if local.endpoint.id.0.is_multiple_of(10) { 0..=0 } else { 340..=540 };
        assert!(fits.contains(&count), "{count}");
    }
}
