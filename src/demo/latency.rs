//! How long answers took: counts in buckets of about 6 % width, so that hours of load take 4 KiB.

use std::time::Duration;

/// Sixteen buckets for every doubling; the first sixteen are single microseconds.
const STEPS: u64 = 16;

/// Up to 2^32 µs, more than an hour; whatever is slower falls into the last bucket.
const BUCKETS: usize = 29 * STEPS as usize;

/// Counts of durations, to the microsecond at first and to 6 % further up.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
    }

    pub(super) fn merge(&mut self, other: &Latencies) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// The duration that `percent` of all stay within; zero if there are none.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total * percent).div_ceil(100);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= wanted && seen > 0
        };
        self.counts.iter().position(reaches).map(|at| Duration::from_micros(highest(at as u64))).unwrap_or_default()
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let doublings = u64::from(micros.ilog2()) - 4;
    let step = (micros >> doublings) - STEPS;
    ((doublings + 1) * STEPS + step).min(BUCKETS as u64 - 1) as usize
}

/// The largest number of microseconds that falls into a bucket.
fn highest(bucket: u64) -> u64 {
    if bucket < STEPS {
        return bucket;
    }
    let (doublings, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        for micros in (0..5000).chain([1 << 20, (1 << 31) + 12345]) {
            let at = bucket(micros) as u64;
            assert!(micros <= highest(at), "{micros}");
            assert!(at == 0 || micros > highest(at - 1), "{micros}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_a_bucket() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), Duration::ZERO);
        (1..=100).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let off = |percent, ms: f64| (latencies.percentile(percent).as_secs_f64() * 1000.0 / ms - 1.0).abs();
        assert!(off(50, 50.0) < 0.07 && off(99, 99.0) < 0.07);
        let mut twice = latencies.clone();
        twice.merge(&latencies);
        assert_eq!(twice.percentile(99), latencies.percentile(99));
    }
}
