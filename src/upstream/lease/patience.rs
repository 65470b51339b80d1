//! How long a client is waited for: for the next byte of its request, and for it to take what it asked for.
//!
//! A wait costs a request a mark in its entry; the worker's tick puts the time to it. So it is never over too early, and
//! up to two ticks late.

use std::time::{Duration, Instant};

/// What a client may take its time for; `None` waits as long as it stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// The next byte of a request body.
    pub body: Option<Duration>,
    /// Taking the next part of an answer.
    pub send: Option<Duration>,
}

/// A wait for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    #[default]
    No,
    /// Since the last tick.
    New,
    Since(Instant),
    /// For longer than allowed.
    Over,
}

impl Wait {
    /// The wait begins, unless it has.
    pub(super) fn begin(&mut self) {
        if *self == Wait::No {
            *self = Wait::New;
        }
    }

    /// The wait begins anew, if there is one that is not over.
    pub(super) fn renew(&mut self) {
        if let Wait::Since(_) = self {
            *self = Wait::New;
        }
    }

    /// True in the tick in which it is over.
    pub(super) fn tick(&mut self, now: Instant, limit: Option<Duration>) -> bool {
        match *self {
            Wait::New => *self = Wait::Since(now),
            Wait::Since(start) if limit.is_some_and(|limit| now.saturating_duration_since(start) >= limit) => {
                *self = Wait::Over;
                return true;
            }
            Wait::No | Wait::Since(_) | Wait::Over => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_over_once_and_not_before_its_time() {
        let (start, limit) = (Instant::now(), Some(Duration::from_secs(1)));
        let at = |ms| start + Duration::from_millis(ms);
        let mut wait = Wait::default();
        assert!(!wait.tick(at(0), limit), "nobody is waited for");
        wait.begin();
        assert!(!wait.tick(at(5000), limit), "the time counts from the tick that sees it");
        wait.begin();
        assert!(!wait.tick(at(5999), limit));
        wait.renew();
        assert!(!wait.tick(at(6100), limit), "something moved");
        assert!(!wait.tick(at(9000), None), "limits may be turned off while it waits");
        assert!(wait.tick(at(9000), limit));
        assert!(!wait.tick(at(9999), limit), "once");
        assert_eq!(wait, Wait::Over);
    }
}
