//! A moment that several threads share: milliseconds since the process began to count, in one atomic word.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A moment, or none. Reading it is one relaxed load.
#[derive(Debug, Default)]
pub(super) struct Stamp(AtomicU64);

/// The moment that stamps are counted from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Zero means "none", so that the first moment is 1.
fn millis(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch()).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

impl Stamp {
    pub(super) fn set(&self, at: Instant) {
        self.0.store(millis(at), Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// How long ago it was; `None` if there is no moment or it lies ahead.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        match self.0.load(Relaxed) {
            0 => None,
            at => millis(now).checked_sub(at).map(Duration::from_millis),
        }
    }

    /// How far ahead it lies; `None` if there is no moment or it has passed.
    pub(super) fn ahead(&self, now: Instant) -> Option<Duration> {
        match self.0.load(Relaxed) {
            0 => None,
            at => at.checked_sub(millis(now)).filter(|left| *left > 0).map(Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_ahead_and_then_past() {
        let (stamp, now) = (Stamp::default(), Instant::now());
        assert_eq!((stamp.age(now), stamp.ahead(now)), (None, None));
        stamp.set(now + Duration::from_secs(2));
        assert_eq!((stamp.age(now), stamp.ahead(now)), (None, Some(Duration::from_secs(2))));
        let later = now + Duration::from_secs(5);
        assert_eq!((stamp.age(later), stamp.ahead(later)), (Some(Duration::from_secs(3)), None));
        stamp.clear();
        assert_eq!(stamp.age(later), None);
    }
}
