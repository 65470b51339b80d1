//! The load's books: every answer, every loss, and who should have answered.
//!
//! Invariants: each request is booked once, as an answer or as a loss. An answer is *stale* only if the proxy said the
//! same generation before the request was sent and after its answer came; a switch in between makes it innocent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{check::Fault, classifier::Version, latency::Latencies};
use crate::ids::Generation;

/// Descriptions kept of what went wrong; the counters go on.
const SAMPLES_MAX: usize = 5;

/// Suspects kept between two looks at the proxy, which are a quarter of a second apart.
const SUSPECTS_MAX: usize = 10_000;

/// Counters of a stretch of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Ended inference requests, whatever their end.
    pub(super) requests: u64,
    /// Inference answers of version 1 and 2.
    pub(super) answered: [u64; 2],
    /// Those of them that named the right species.
    pub(super) right: [u64; 2],
    pub(super) lost: Losses,
    /// Whole streams of version 1 and 2.
    pub(super) streams_whole: [u64; 2],
    /// Streams refused, or ended before `[DONE]`.
    pub(super) streams_cut: u64,
    /// Streams with tokens of two versions.
    pub(super) streams_mixed: u64,
    /// Answers and streams by a version that no longer served when they were asked for.
    pub(super) stale: u64,
    /// Client connections that the proxy closed.
    pub(super) connections_lost: u64,
    pub(super) latencies: Latencies,
    /// The first few things that went wrong, in words.
    pub(super) samples: Vec<String>,
}

/// Inference requests without a good answer, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// A status other than 200.
    pub(super) refused: u64,
    /// No answer, or not to its end.
    pub(super) broken: u64,
    pub(super) late: u64,
    pub(super) malformed: u64,
    /// Header and body name different versions.
    pub(super) mixed: u64,
}

impl Losses {
    pub(super) fn total(&self) -> u64 {
        self.refused + self.broken + self.late + self.malformed + self.mixed
    }

    fn count(&mut self, fault: &Fault) {
        *match fault {
            Fault::Refused { .. } => &mut self.refused,
            Fault::Broken(_) | Fault::Unfinished(_) => &mut self.broken,
            Fault::Late => &mut self.late,
            Fault::Malformed(_) => &mut self.malformed,
            Fault::Mixed(_) => &mut self.mixed,
        } += 1;
    }

    fn merge(&mut self, other: &Losses) {
        self.refused += other.refused;
        self.broken += other.broken;
        self.late += other.late;
        self.malformed += other.malformed;
        self.mixed += other.mixed;
    }
}

impl Tally {
    /// Everything that must be zero, added up.
    pub(super) fn faults(&self) -> u64 {
        self.lost.total() + self.streams_cut + self.streams_mixed + self.stale + self.connections_lost
    }

    fn merge(&mut self, other: &Tally) {
        let add = |mine: &mut [u64; 2], theirs: &[u64; 2]| mine.iter_mut().zip(theirs).for_each(|(m, t)| *m += t);
        self.requests += other.requests;
        add(&mut self.answered, &other.answered);
        add(&mut self.right, &other.right);
        add(&mut self.streams_whole, &other.streams_whole);
        self.lost.merge(&other.lost);
        self.streams_cut += other.streams_cut;
        self.streams_mixed += other.streams_mixed;
        self.stale += other.stale;
        self.connections_lost += other.connections_lost;
        self.latencies.merge(&other.latencies);
        other.samples.iter().cloned().for_each(|sample| self.keep(sample));
    }

    fn sample(&mut self, what: &str, fault: &dyn std::error::Error) {
        let causes = std::iter::successors(fault.source(), |error| error.source());
        self.keep(causes.fold(format!("{what}: {fault}"), |text, cause| format!("{text}: {cause}")));
    }

    /// The same words twice would tell nothing new.
    fn keep(&mut self, sample: String) {
        if self.samples.len() < SAMPLES_MAX && !self.samples.contains(&sample) {
            self.samples.push(sample);
        }
    }
}

/// A look at the proxy: what it says serves, and between which two moments it said so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) generation: Generation,
    /// Absent if what serves is none of the demo's versions.
    pub(super) version: Option<Version>,
}

/// A request's own times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) sent: Instant,
    pub(super) ended: Instant,
}

/// The books, shared by the load's tasks and whoever reports. Locked for a few additions at a time.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Since it was last taken.
    window: Tally,
    /// Before that.
    total: Tally,
    streams_open: u64,
    /// The newest generation seen.
    serving: Option<Observation>,
    /// When each possibly stale answer came.
    suspects: Vec<Instant>,
}

impl Ledger {
    pub(super) fn answered(&self, times: Times, version: Version, right: bool) {
        let mut books = self.open();
        books.window.requests += 1;
        books.window.answered[version.index()] += 1;
        books.window.right[version.index()] += u64::from(right);
        books.window.latencies.add(times.ended - times.sent);
        books.suspect(times, version);
    }

    pub(super) fn lost(&self, fault: &Fault) {
        let mut books = self.open();
        books.window.requests += 1;
        books.window.lost.count(fault);
        books.window.sample("inference", fault);
    }

    pub(super) fn stream_began(&self) {
        self.open().streams_open += 1;
    }

    pub(super) fn stream_ended(&self, times: Times, end: Result<Version, Fault>) {
        let mut books = self.open();
        books.streams_open -= 1;
        match end {
            Ok(version) => {
                books.window.streams_whole[version.index()] += 1;
                books.suspect(times, version);
            }
            Err(fault) => {
                let mixed = matches!(fault, Fault::Mixed(_));
                *if mixed { &mut books.window.streams_mixed } else { &mut books.window.streams_cut } += 1;
                books.window.sample("stream", &fault);
            }
        }
    }

    pub(super) fn connections_lost(&self, count: u64) {
        self.open().window.connections_lost += count;
    }

    /// Learns what serves, and convicts or acquits the suspects so far.
    pub(super) fn observe(&self, seen: Observation) {
        self.open().observe(seen);
    }

    pub(super) fn streams_open(&self) -> u64 {
        self.open().streams_open
    }

    /// What was booked since this was last called.
    pub(super) fn take_window(&self) -> Tally {
        let mut books = self.open();
        let window = std::mem::take(&mut books.window);
        books.total.merge(&window);
        window
    }

    /// What was booked since the start.
    pub(super) fn total(&self) -> Tally {
        let books = self.open();
        let mut total = books.total.clone();
        total.merge(&books.window);
        total
    }

    /// Counters cannot be left half changed, so a poisoned lock is as good as any.
    fn open(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn suspect(&mut self, times: Times, version: Version) {
        let Some(serving) = self.serving else { return };
        let other = serving.version.is_some_and(|expected| expected != version);
        if other && times.sent > serving.answered && self.suspects.len() < SUSPECTS_MAX {
            self.suspects.push(times.ended);
        }
    }

    fn observe(&mut self, seen: Observation) {
        match self.serving {
            Some(serving) if seen.generation < serving.generation => {}
            Some(serving) if seen.generation == serving.generation => {
                let before = self.suspects.len();
                self.suspects.retain(|ended| *ended > seen.asked);
                self.window.stale += (before - self.suspects.len()) as u64;
            }
            _ => {
                self.suspects.clear();
                self.serving = Some(seen);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    /// A ledger, and moments by millisecond.
    fn ledger() -> (Ledger, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Ledger::default(), move |ms| start + Duration::from_millis(ms))
    }

    fn seen(at: &impl Fn(u64) -> Instant, ms: u64, generation: u64, version: Version) -> Observation {
        Observation { asked: at(ms), answered: at(ms + 1), generation: Generation(generation), version: Some(version) }
    }

    #[test]
    fn an_old_answer_between_two_looks_at_the_same_generation_is_stale() {
        let (ledger, at) = ledger();
        ledger.observe(seen(&at, 0, 2, Version::Two));
        ledger.answered(Times { sent: at(10), ended: at(20) }, Version::One, true);
        assert_eq!(ledger.total().stale, 0, "only a suspect so far");
        ledger.observe(seen(&at, 15, 2, Version::Two));
        assert_eq!(ledger.total().stale, 0, "asked before the answer came");
        ledger.observe(seen(&at, 30, 2, Version::Two));
        assert_eq!(ledger.total().stale, 1);
        ledger.observe(seen(&at, 40, 2, Version::Two));
        assert_eq!(ledger.total().stale, 1, "convicted once");
    }

    #[test]
    fn an_old_answer_is_innocent_around_a_switch() {
        let (ledger, at) = ledger();
        ledger.observe(seen(&at, 0, 2, Version::Two));
        ledger.answered(Times { sent: at(0), ended: at(20) }, Version::One, true);
        ledger.answered(Times { sent: at(10), ended: at(20) }, Version::One, true);
        ledger.observe(seen(&at, 30, 3, Version::One));
        ledger.observe(seen(&at, 5, 2, Version::Two));
        ledger.observe(seen(&at, 40, 3, Version::One));
        assert_eq!(ledger.total().stale, 0);
    }

    #[test]
    fn windows_add_up_to_the_total() {
        let (ledger, at) = ledger();
        let times = Times { sent: at(0), ended: at(3) };
        ledger.answered(times, Version::One, true);
        ledger.lost(&Fault::Late);
        assert_eq!(ledger.take_window().requests, 2);
        ledger.answered(times, Version::Two, false);
        ledger.lost(&Fault::Refused { status: StatusCode::BAD_GATEWAY, kind: String::new() });
        ledger.stream_began();
        ledger.stream_ended(times, Err(Fault::Unfinished(3)));
        ledger.stream_began();
        ledger.stream_ended(times, Ok(Version::Two));
        ledger.connections_lost(1);
        let total = ledger.total();
        assert_eq!((total.requests, total.answered, total.right), (4, [1, 1], [1, 0]));
        assert_eq!((total.lost.late, total.lost.refused, total.lost.total()), (1, 1, 2));
        assert_eq!((total.streams_whole, total.streams_cut, ledger.streams_open()), ([0, 1], 1, 0));
        assert_eq!((total.faults(), total.samples.len()), (4, 3));
    }
}
