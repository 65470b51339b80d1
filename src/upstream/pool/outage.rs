//! An address that refuses connections: since when, and who finds out whether it is back.
//!
//! While it is young, one request at a time tries to connect and the others wait: a server that comes up again must not
//! meet a thousand connects a second, and nobody is refused for a gap of a second.

use std::{
    cell::Cell,
    io::ErrorKind,
    time::{Duration, Instant},
};

use super::ConnectError;

/// An outage that nobody has seen for so long is another one.
const MEMORY: Duration = Duration::from_secs(60);

/// Whether an address refuses.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Cell<Option<Instant>>,
    seen: Cell<Option<Instant>>,
    tried: Cell<bool>,
}

/// The right to try.
pub(super) struct Try<'o> {
    outage: &'o Outage,
    alone: bool,
}

impl Outage {
    /// The right to connect; `None` while another request tries to end an outage that is younger than `wait`.
    pub(super) fn attempt(&self, now: Instant, wait: Duration) -> Option<Try<'_>> {
        let alone = self.is_younger_than(wait, now);
        if alone && self.tried.replace(true) {
            return None;
        }
        Some(Try { outage: self, alone })
    }

    /// True if it refuses, and has not done so for longer.
    pub(super) fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        self.since.get().is_some_and(|since| now.saturating_duration_since(since) < age)
    }
}

impl Try<'_> {
    pub(super) fn succeeded(self) {
        self.outage.since.set(None);
    }

    /// A server that is being started anew refuses at once; one that does not answer at all has been waited for already.
    pub(super) fn failed(self, error: &ConnectError, now: Instant) {
        let refused = match error {
            ConnectError::Io { source, .. } => {
                matches!(source.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::NotFound)
            }
            ConnectError::Handshake { .. } => true,
            ConnectError::Name { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::Down { .. } => false,
        };
        if refused {
            let known =
                self.outage.seen.replace(Some(now)).is_some_and(|seen| now.saturating_duration_since(seen) < MEMORY);
            if !known || self.outage.since.get().is_none() {
                self.outage.since.set(Some(now));
            }
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.alone {
            self.outage.tried.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(3);

    fn refused() -> ConnectError {
        ConnectError::Io { url: String::new(), source: ErrorKind::ConnectionRefused.into() }
    }

    #[test]
    fn one_tries_while_the_outage_is_young() {
        let (outage, now) = (Outage::default(), Instant::now());
        let (one, two) = (outage.attempt(now, WAIT).unwrap(), outage.attempt(now, WAIT).unwrap());
        one.failed(&refused(), now);
        two.failed(&refused(), now + WAIT / 2);
        assert!(outage.is_younger_than(WAIT, now), "counted from the first refusal");
        let scout = outage.attempt(now, WAIT).unwrap();
        assert!(outage.attempt(now, WAIT).is_none());
        drop(scout);
        let scout = outage.attempt(now, WAIT).unwrap();
        assert!(outage.attempt(now + WAIT, WAIT).is_some(), "an old outage is nobody's to wait for");
        scout.succeeded();
        assert!(!outage.is_younger_than(WAIT, now));
    }

    #[test]
    fn an_outage_that_nobody_saw_end_is_forgotten() {
        let (outage, now) = (Outage::default(), Instant::now());
        let later = now + Duration::from_secs(3600);
        outage.attempt(now, WAIT).unwrap().failed(&refused(), now);
        let again = outage.attempt(later, WAIT).unwrap();
        again.failed(&refused(), later);
        assert!(outage.is_younger_than(WAIT, later), "an hour later it is another one");
        let last = outage.attempt(later + WAIT, WAIT).unwrap();
        last.failed(&refused(), later + WAIT);
        assert!(!outage.is_younger_than(WAIT, later + WAIT), "and no newer one as long as it is seen");
    }

    #[test]
    fn silence_is_no_outage_to_wait_for() {
        let (outage, now) = (Outage::default(), Instant::now());
        let error = ConnectError::Timeout { url: String::new(), what: "connection", within: WAIT };
        outage.attempt(now, WAIT).unwrap().failed(&error, now);
        assert!(!outage.is_younger_than(WAIT, now));
    }
}
