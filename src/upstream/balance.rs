//! Picks the endpoint of a slot that takes a request.
//!
//! First by standing: not avoided before avoided, in before ejected, healthy before not yet probed before unhealthy, and
//! among equals those that are warm before those that still start slowly. Then by the service's policy. With one
//! endpoint there is nothing to do, and nothing is done.

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
        let field = Field::of(endpoints, standing)?;
        let mut candidates = endpoints.iter().filter(|local| standing(local) == field.standing);
        if field.count == 1 {
            return candidates.next();
        }
        match policy.policy {
            BalancePolicy::RoundRobin => self.longest_unpicked(candidates),
            BalancePolicy::LeastInFlight => {
                let (one, other) = self.two(candidates, field.count)?;
                Some(if other.in_flight() < one.in_flight() { other } else { one })
            }
            BalancePolicy::PeakEwma => {
                let (one, other) = self.two(candidates, field.count)?;
                one.measure();
                other.measure();
                Some(if other.cost(now) < one.cost(now) { other } else { one })
            }
        }
    }

    /// Two different ones, drawn evenly.
    fn two<'a>(
        &self,
        mut candidates: impl Iterator<Item = &'a Rc<LocalEndpoint>> + Clone,
        count: usize,
    ) -> Option<(&'a Rc<LocalEndpoint>, &'a Rc<LocalEndpoint>)> {
        let draw = self.next();
        let first = (draw >> 32) as usize % count;
        let second = (draw as u32) as usize % (count - 1);
        let second = if second >= first { second + 1 } else { second };
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
