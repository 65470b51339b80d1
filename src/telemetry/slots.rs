//! Counters of one service, slot and version, one shard per worker.
//!
//! A shard is written by one thread only, so an increment is a plain load and store (`Relaxed`), no locked instruction.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crossbeam_utils::CachePadded;

use super::FailureKind;
use crate::ids::{ServiceName, Slot};

/// Upper bounds of the latency histogram's buckets, in microseconds.
pub(super) const BUCKETS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotLabels {
    pub service: ServiceName,
    pub slot: Slot,
    /// Empty if the operator gave none.
    pub version: String,
}

/// Counters of one service, slot and version.
#[derive(Debug)]
pub struct SlotMetrics {
    pub labels: SlotLabels,
    shards: Box<[CachePadded<Shard>]>,
}

/// A value for each [`FailureKind`], by its discriminant: more of them than the standard library has a default for.
#[derive(Clone, Debug)]
pub(super) struct PerKind<T>(pub(super) [T; FailureKind::ALL.len()]);

impl<T: Default> Default for PerKind<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

#[derive(Debug, Default)]
struct Shard {
    by_class: [AtomicU64; 6],
    failures: PerKind<AtomicU64>,
    replays: AtomicU64,
    replays_refused: AtomicU64,
    retries: AtomicU64,
    retries_refused: AtomicU64,
    duration: Histogram,
    first_byte: Histogram,
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One count per bound, and one for what lies above the last.
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram's state, summed over the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HistogramSum {
    pub(super) buckets: [u64; BUCKETS_US.len() + 1],
    pub(super) sum_us: u64,
}

/// All counters, summed over the workers.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotSums {
    pub(super) by_class: [u64; 6],
    pub(super) failures: PerKind<u64>,
    pub(super) replays: u64,
    pub(super) replays_refused: u64,
    pub(super) retries: u64,
    pub(super) retries_refused: u64,
    pub(super) duration: HistogramSum,
    pub(super) first_byte: HistogramSum,
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Histogram {
    fn record(&self, elapsed: Duration) {
        let us = elapsed.as_micros().min(u128::from(u64::MAX)) as u64;
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        bump(&self.buckets[bucket], 1);
        bump(&self.sum_us, us);
    }

    fn add_to(&self, sum: &mut HistogramSum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        sum.sum_us += self.sum_us.load(Relaxed);
    }
}

impl SlotMetrics {
    /// Counters at zero, for so many workers.
    pub fn new(labels: SlotLabels, workers: usize) -> Self {
        Self { labels, shards: (0..workers.max(1)).map(|_| CachePadded::default()).collect() }
    }

    /// A request ended with this status after this long. `worker` must be the calling worker's own index.
    pub fn finished(&self, worker: usize, status: u16, duration: Duration) {
        let shard = &self.shards[worker];
        bump(&shard.by_class[usize::from(status / 100).min(5)], 1);
        shard.duration.record(duration);
    }

    /// The head of an answer came after this long.
    pub fn first_byte(&self, worker: usize, elapsed: Duration) {
        self.shards[worker].first_byte.record(elapsed);
    }

    /// A request failed.
    pub fn failed(&self, worker: usize, kind: FailureKind) {
        bump(&self.shards[worker].failures.0[kind as usize], 1);
    }

    /// A request was sent again on a fresh connection.
    pub fn replayed(&self, worker: usize) {
        bump(&self.shards[worker].replays, 1);
    }

    /// A reused connection died and the request could not be sent again.
    pub fn replay_refused(&self, worker: usize) {
        bump(&self.shards[worker].replays_refused, 1);
    }

    /// Another endpoint was asked; or would have been, had the budget `afforded` it.
    pub fn retried(&self, worker: usize, afforded: bool) {
        let shard = &self.shards[worker];
        bump(if afforded { &shard.retries } else { &shard.retries_refused }, 1);
    }

    pub(super) fn sums(&self) -> SlotSums {
        let mut sums = SlotSums::default();
        for shard in &self.shards {
            for (total, counter) in sums.by_class.iter_mut().zip(&shard.by_class) {
                *total += counter.load(Relaxed);
            }
            for (total, counter) in sums.failures.0.iter_mut().zip(&shard.failures.0) {
                *total += counter.load(Relaxed);
            }
            sums.replays += shard.replays.load(Relaxed);
            sums.replays_refused += shard.replays_refused.load(Relaxed);
            sums.retries += shard.retries.load(Relaxed);
            sums.retries_refused += shard.retries_refused.load(Relaxed);
            shard.duration.add_to(&mut sums.duration);
            shard.first_byte.add_to(&mut sums.first_byte);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed() {
        let labels = SlotLabels { service: "iris".parse().unwrap(), slot: Slot::Blue, version: String::new() };
        let metrics = SlotMetrics::new(labels, 2);
        metrics.finished(0, 200, Duration::from_micros(500));
        metrics.finished(1, 204, Duration::from_micros(501));
        metrics.finished(1, 502, Duration::from_secs(100));
        metrics.failed(1, FailureKind::UpstreamClosed);
        let sums = metrics.sums();
        assert_eq!((sums.by_class[2], sums.by_class[5]), (2, 1));
        assert_eq!(sums.failures.0[FailureKind::UpstreamClosed as usize], 1);
        assert_eq!((sums.duration.buckets[0], sums.duration.buckets[1], sums.duration.buckets[16]), (1, 1, 1));
        assert_eq!(sums.duration.sum_us, 100_001_001);
    }
}
