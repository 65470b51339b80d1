//! Picks the endpoint of a slot that takes a request.
//!
//! First by standing: not avoided before avoided, in before ejected, healthy before not yet probed before unhealthy, and
//! among equals those that are warm before those that still start slowly. Then by the service's policy. With one
//! endpoint there is nothing to do, and nothing is done; with a thousand, two are drawn, and all are looked at only where
//! the draws found something against them, or where turns are taken.

use std::{cell::Cell, rc::Rc, time::Instant};

use super::LocalEndpoint;
use crate::{
    api::EndpointHealth,
    config::settings::{BalancePolicy, BalanceSettings},
    ids::EndpointId,
};

/// A worker's source of choices: xorshift, seeded, so that a test can repeat it.
#[derive(Debug)]
pub struct Balancer {
    state: Cell<u64>,
    turn: Cell<u64>,
}

/// The standing of an endpoint that nothing speaks against; none is better.
const BEST: u8 = 0;
/// How often two are drawn before all are looked at.
const DRAWS: usize = 3;

/// The best standing there is, and how many endpoints have it.
#[derive(Debug)]
struct Field {
    standing: u8,
    count: usize,
}

impl Balancer {
    pub fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed | 1), turn: Cell::new(0) }
    }

    fn next(&self) -> u64 {
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        x
    }

    /// An endpoint; `None` only if there is none at all. Those to avoid, those that are ejected and those that are
    /// unhealthy are taken when nothing else is left: a probe may lie, so that trying beats refusing.
    pub fn pick<'a>(
        &self,
        endpoints: &'a [Rc<LocalEndpoint>],
        policy: &BalanceSettings,
        avoid: &[EndpointId],
        now: Instant,
    ) -> Option<&'a Rc<LocalEndpoint>> {
        if let [only] = endpoints {
            return Some(only);
        }
        // One draw decides for all who start slowly, so that asking again gives the same answer.
        let chance = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let standing = |local: &Rc<LocalEndpoint>| standing(local, policy, avoid, now, chance);
        if policy.policy != BalancePolicy::RoundRobin
            && let Some((one, other)) = self.two_of_the_best(endpoints, standing)
        {
            return Some(better(one, other, policy.policy, now));
        }
        let field = Field::of(endpoints, standing)?;
        let mut candidates = endpoints.iter().filter(|local| standing(local) == field.standing);
        if field.count == 1 {
            return candidates.next();
        }
        if policy.policy == BalancePolicy::RoundRobin {
            return self.longest_unpicked(candidates);
        }
        let (one, other) = self.two(candidates, field.count)?;
        Some(better(one, other, policy.policy, now))
    }

    /// Two different ones, drawn evenly from those that nothing speaks against. `None` if the draws met others: they say
    /// nothing of the rest then.
    fn two_of_the_best<'a>(
        &self,
        endpoints: &'a [Rc<LocalEndpoint>],
        standing: impl Fn(&Rc<LocalEndpoint>) -> u8,
    ) -> Option<(&'a Rc<LocalEndpoint>, &'a Rc<LocalEndpoint>)> {
        if endpoints.len() < 2 {
            return None;
        }
        // To draw from all until both will do is to draw evenly from those that will do.
        (0..DRAWS).find_map(|_| {
            let (first, second) = self.draw(endpoints.len());
            let (one, other) = (&endpoints[first], &endpoints[second]);
            (standing(one) == BEST && standing(other) == BEST).then_some((one, other))
        })
    }

    /// Two different numbers below `count`, which is two at least.
    fn draw(&self, count: usize) -> (usize, usize) {
        let draw = self.next();
        let first = (draw >> 32) as usize % count;
        let second = (draw as u32) as usize % (count - 1);
        (first, if second >= first { second + 1 } else { second })
    }

    /// Two different ones, drawn evenly.
    fn two<'a>(
        &self,
        mut candidates: impl Iterator<Item = &'a Rc<LocalEndpoint>> + Clone,
        count: usize,
    ) -> Option<(&'a Rc<LocalEndpoint>, &'a Rc<LocalEndpoint>)> {
        let (first, second) = self.draw(count);
        let one = candidates.clone().nth(first)?;
        candidates.nth(second).map(|other| (one, other))
    }

    /// Round robin that bears endpoints coming, going and being avoided: the one whose turn is longest ago.
    fn longest_unpicked<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Rc<LocalEndpoint>>,
    ) -> Option<&'a Rc<LocalEndpoint>> {
        let picked = candidates.min_by_key(|local| local.turn.get())?;
        self.turn.set(self.turn.get() + 1);
        picked.turn.set(self.turn.get());
        Some(picked)
    }
}

impl Field {
    fn of(endpoints: &[Rc<LocalEndpoint>], standing: impl Fn(&Rc<LocalEndpoint>) -> u8) -> Option<Self> {
        let mut field: Option<Self> = None;
        for standing in endpoints.iter().map(standing) {
            match &mut field {
                Some(best) if best.standing == standing => best.count += 1,
                Some(best) if best.standing < standing => {}
                _ => field = Some(Field { standing, count: 1 }),
            }
        }
        field
    }
}

/// The one of two that the policy prefers; not for turns.
fn better<'a>(
    one: &'a Rc<LocalEndpoint>,
    other: &'a Rc<LocalEndpoint>,
    policy: BalancePolicy,
    now: Instant,
) -> &'a Rc<LocalEndpoint> {
    let other_is_better = match policy {
        BalancePolicy::PeakEwma => {
            one.measure();
            other.measure();
            other.cost(now) < one.cost(now)
        }
        BalancePolicy::LeastInFlight | BalancePolicy::RoundRobin => other.in_flight() < one.in_flight(),
    };
    if other_is_better { other } else { one }
}

/// The smaller, the better.
fn standing(local: &LocalEndpoint, policy: &BalanceSettings, avoid: &[EndpointId], now: Instant, chance: f64) -> u8 {
    let endpoint = &local.endpoint;
    let health = match endpoint.health() {
        EndpointHealth::Healthy => 0,
        EndpointHealth::Unknown => 1,
        EndpointHealth::Unhealthy => 2,
    };
    let (avoided, ejected) = (avoid.contains(&endpoint.id), endpoint.is_ejected(now));
    let sits_out = chance > endpoint.warmth(policy.slow_start, now);
    (u8::from(avoided) * 6 + u8::from(ejected) * 3 + health) * 2 + u8::from(sits_out)
}

#[cfg(test)]
#[path = "balance_tests.rs"]
pub(super) mod tests;
