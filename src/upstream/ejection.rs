//! Passive ejection: an endpoint that fails requests in a row is left out for a while, whatever its probes say.
//!
//! Shared by all workers. A success costs one relaxed load; the lock is taken only when the run of failures is long
//! enough, so that two workers do not eject more together than each of them may.

use std::{
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{LocalEndpoint, stamp::Stamp};
use crate::{api::EndpointHealth, config::settings::EjectionSettings};

/// What a request tells about the endpoint that had it. A client's mistake tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// No connection, closed without an answer, malformed, timed out, or answered 502, 503 or 504.
    Failed,
}

impl Outcome {
    /// What an answer's status tells: the three with which a server says that it cannot serve anybody.
    pub fn of_status(status: u16) -> Self {
        if matches!(status, 502..=504) { Outcome::Failed } else { Outcome::Ok }
    }
}

/// An endpoint's run of failures, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    failures: AtomicU32,
    /// Ejections that followed each other without a good spell between them.
    times: AtomicU32,
    until: Stamp,
    total: AtomicU64,
    begun: Notify,
}

/// Held while it is decided whether one more endpoint of a slot may go.
static DECIDING: Mutex<()> = Mutex::new(());

impl Ejection {
    /// How long it still lasts.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.until.ahead(now)
    }

    /// How long ago it ended.
    pub(super) fn ended_ago(&self, now: Instant) -> Option<Duration> {
        self.until.age(now)
    }

    /// Ejections so far.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Returns when an ejection begins; one that began before is told, too.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    pub(super) fn clear(&self) {
        self.failures.store(0, Relaxed);
        self.times.store(0, Relaxed);
        self.until.clear();
    }

    fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// The length of the next ejection: twice the last one's, or the first one's if the endpoint was in for `time_max`.
    fn next_time(&self, settings: &EjectionSettings, now: Instant) -> Duration {
        if self.ended_ago(now).is_none_or(|spell| spell >= settings.time_max) {
            self.times.store(0, Relaxed);
        }
        let doublings = self.times.fetch_add(1, AcqRel).min(20);
        settings.time.saturating_mul(1 << doublings).min(settings.time_max)
    }

    /// After its time a single failure is enough to go again, until there has been a success.
    fn begin(&self, settings: &EjectionSettings, failures: u32, now: Instant) {
        let time = self.next_time(settings, now);
        self.failures.store(failures - 1, Relaxed);
        self.total.fetch_add(1, Relaxed);
        self.until.set(now + time);
        self.begun.notify_one();
    }
}

impl LocalEndpoint {
    /// Takes in what became of a request here. `slot` are all the endpoints of the slot, this one among them; where it
    /// is the only one, nothing is counted.
    pub fn outcome(&self, outcome: Outcome, slot: &[Rc<LocalEndpoint>], settings: &EjectionSettings) {
        if slot.len() > 1 {
            match outcome {
                Outcome::Ok => self.endpoint.ejection().succeeded(),
                Outcome::Failed => self.failed(slot, settings, Instant::now()),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn outcome_at(
        &self,
        outcome: Outcome,
        slot: &[Rc<LocalEndpoint>],
        settings: &EjectionSettings,
        now: Instant,
    ) {
        match outcome {
            Outcome::Ok => self.endpoint.ejection().succeeded(),
            Outcome::Failed => self.failed(slot, settings, now),
        }
    }

    fn failed(&self, slot: &[Rc<LocalEndpoint>], settings: &EjectionSettings, now: Instant) {
        let own = self.endpoint.ejection();
        let Some(needed) = settings.failures else { return };
        // What was on its way when the ejection began says nothing new.
        if own.left(now).is_some() || own.failures.fetch_add(1, Relaxed) + 1 < needed {
            return;
        }
        let _deciding = DECIDING.lock().unwrap_or_else(PoisonError::into_inner);
        if own.left(now).is_none() && self.may_go(slot, settings.share_max, now) {
            own.begin(settings, needed, now);
        }
    }

    /// True if the share allows one more (the first one goes whatever its share is, unless that is none), and somebody
    /// stays who is not unhealthy.
    fn may_go(&self, slot: &[Rc<LocalEndpoint>], share_max: u32, now: Instant) -> bool {
        let others = || slot.iter().map(|local| &local.endpoint).filter(|other| other.id != self.endpoint.id);
        let out = others().filter(|other| other.is_ejected(now)).count();
        let stays = others().any(|other| !other.is_ejected(now) && other.health() != EndpointHealth::Unhealthy);
        let most = (slot.len() * share_max as usize / 100).max(usize::from(share_max > 0));
        stays && out < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::tests::endpoints;

    const SETTINGS: EjectionSettings = EjectionSettings {
        failures: Some(3),
        time: Duration::from_secs(10),
        time_max: Duration::from_secs(60),
        share_max: 50,
    };

    fn fail(local: &LocalEndpoint, slot: &[Rc<LocalEndpoint>], times: u32, now: Instant) {
        for _ in 0..times {
            local.outcome_at(Outcome::Failed, slot, &SETTINGS, now);
        }
    }

    #[test]
    fn a_run_of_failures_ejects_and_a_success_breaks_the_run() {
        let (slot, now) = (endpoints(2), Instant::now());
        fail(&slot[0], &slot, 2, now);
        slot[0].outcome_at(Outcome::Ok, &slot, &SETTINGS, now);
        fail(&slot[0], &slot, 2, now);
        assert!(!slot[0].endpoint.is_ejected(now));
        fail(&slot[0], &slot, 1, now);
        assert_eq!(slot[0].endpoint.ejected_for(now), Some(SETTINGS.time));
        assert!(!slot[0].endpoint.is_ejected(now + SETTINGS.time));
    }

    #[test]
    fn each_further_time_is_twice_as_long_until_there_was_a_good_spell() {
        let slot = endpoints(2);
        let endpoint = &slot[0].endpoint;
        let mut now = Instant::now();
        for expected in [10, 20, 40, 60, 60] {
            fail(&slot[0], &slot, 3, now);
            assert_eq!(endpoint.ejected_for(now), Some(Duration::from_secs(expected)));
            now += Duration::from_secs(expected + 1);
        }
        now += SETTINGS.time_max;
        fail(&slot[0], &slot, 3, now);
        assert_eq!(endpoint.ejected_for(now), Some(SETTINGS.time));
        assert_eq!(endpoint.ejections(), 6);
    }

    #[test]
    fn after_its_time_one_failure_is_enough_and_one_success_ends_that() {
        let (slot, start) = (endpoints(2), Instant::now());
        fail(&slot[0], &slot, 3, start);
        let back = start + Duration::from_secs(11);
        slot[0].outcome_at(Outcome::Ok, &slot, &SETTINGS, back);
        fail(&slot[0], &slot, 1, back);
        assert!(!slot[0].endpoint.is_ejected(back), "a success was between");
        fail(&slot[0], &slot, 2, back);
        let again = back + Duration::from_secs(21);
        fail(&slot[0], &slot, 1, again);
        assert!(slot[0].endpoint.is_ejected(again));
    }

    #[test]
    fn no_more_than_the_share_goes_and_never_the_last_one() {
        let (slot, now) = (endpoints(5), Instant::now());
        slot.iter().for_each(|local| fail(local, &slot, 3, now));
        let out = slot.iter().filter(|local| local.endpoint.is_ejected(now)).count();
        assert_eq!(out, 2, "half of five");
        let all = EjectionSettings { share_max: 100, failures: Some(1), ..SETTINGS };
        let three = endpoints(3);
        three.iter().for_each(|local| local.outcome_at(Outcome::Failed, &three, &all, now));
        assert_eq!(three.iter().filter(|local| local.endpoint.is_ejected(now)).count(), 2);
        let pair = endpoints(2);
        pair[1].endpoint.observe(false, String::new(), now, 1, 1);
        fail(&pair[0], &pair, 3, now);
        assert!(!pair[0].endpoint.is_ejected(now), "the other one is unhealthy");
        let none = EjectionSettings { share_max: 0, failures: Some(1), ..SETTINGS };
        pair[1].endpoint.prove(String::new(), now, 1);
        pair[0].outcome_at(Outcome::Failed, &pair, &none, now);
        assert!(!pair[0].endpoint.is_ejected(now));
    }

    #[test]
    fn a_probe_does_not_end_it_but_a_proof_does() {
        let (slot, now) = (endpoints(2), Instant::now());
        fail(&slot[0], &slot, 3, now);
        slot[0].endpoint.observe(true, String::new(), now, 1, 1);
        assert!(slot[0].endpoint.is_ejected(now));
        slot[0].endpoint.prove(String::new(), now, 1);
        assert!(!slot[0].endpoint.is_ejected(now));
    }
}
