//! What an attempt tells about its endpoint: for its ejection, and for the choice among several.

use std::time::Instant;

use http::StatusCode;

use super::exchange::Held;
use crate::upstream::{ConnectError, LocalEndpoint, Outcome, SendError};

/// A request on its way to an endpoint.
pub(super) struct Sent<'a> {
    held: &'a Held,
    local: &'a LocalEndpoint,
    /// Read from the clock only where somebody compares latencies.
    at: Option<Instant>,
}

impl<'a> Sent<'a> {
    pub(super) fn new(held: &'a Held, local: &'a LocalEndpoint) -> Self {
        Self { held, local, at: local.is_measured().then(Instant::now) }
    }

    /// The head of an answer came.
    pub(super) fn answered(&self, status: StatusCode) {
        let outcome = Outcome::of_status(status.as_u16());
        // A refusal comes quickly, and quickness must not attract more requests.
        if let Some(at) = self.at.filter(|_| outcome == Outcome::Ok) {
            self.local.observe_latency(at.elapsed());
        }
        report(self.held, self.local, outcome);
    }

    /// No answer in the endpoint's time. Whatever it would have said, it took at least so long.
    pub(super) fn timed_out(&self) {
        if let Some(at) = self.at {
            self.local.observe_latency(at.elapsed());
        }
        report(self.held, self.local, Outcome::Failed);
    }
}

/// There was no connection to be had.
pub(super) fn no_connection(held: &Held, local: &LocalEndpoint, error: &ConnectError) {
    // Another request finds out whether it is back; this one has tried nothing.
    if !matches!(error, ConnectError::Down { .. }) {
        report(held, local, Outcome::Failed);
    }
}

/// The connection failed before an answer. An idle one that the server closed in the same instant tells nothing, nor
/// does a server that says that it did not begin.
pub(super) fn no_answer(held: &Held, local: &LocalEndpoint, error: &SendError, reused: bool) {
    let stale = reused && !error.answer_began;
    if !stale && !error.is_surely_unprocessed() {
        report(held, local, Outcome::Failed);
    }
}

fn report(held: &Held, local: &LocalEndpoint, outcome: Outcome) {
    local.outcome(outcome, &held.slot.endpoints, &held.service.service.settings.ejection);
}
