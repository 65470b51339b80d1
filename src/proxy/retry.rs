//! What one endpoint could not do, another may; and while none can be connected to, the request waits a little.
//!
//! A replay (see `replay`) repairs the connection; it is free. A retry burdens another endpoint with what one of them
//! failed at, so it has a budget: otherwise a slot that is down would get its load several times over.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use http::Response;
use hyper::body::Incoming;
use tower::retry::budget::Budget as _;

use super::{
    answer::Failure,
    exchange::Held,
    forward::Courier,
    interrupt::{interrupted, until_interrupt},
    outcome,
};
use crate::{
    telemetry::FailureKind,
    upstream::{ConnectError, LocalEndpoint, Pool},
};

/// Attempts for one request that may follow each other because nothing was processed.
pub(super) const ATTEMPTS_MAX: u32 = 4;
/// Between two looks at a slot that cannot be connected to.
const PAUSE: Duration = Duration::from_millis(50);

/// A request that may be retried raises the budget for retries.
pub(super) fn note_request(courier: &Courier<'_>, held: &Held) {
    if courier.attempts == 1 && held.slot.endpoints.len() > 1 {
        held.service.budget(&courier.exchange.worker.views).deposit();
    }
}

/// True if the answer is one of those after which another endpoint is to be asked, and that is permitted; the answer is
/// then nobody's.
pub(super) fn wants_another(
    courier: &mut Courier<'_>,
    held: &Held,
    local: &LocalEndpoint,
    answer: &Response<Incoming>,
) -> bool {
    let status = answer.status().as_u16();
    status >= 400
        && held.service.service.settings.retry.statuses.contains(&status)
        && may_ask_another(courier, held, local)
}

/// True if the request may be sent to another endpoint after this one failed it, which costs a part of the budget.
pub(super) fn may_ask_another(courier: &mut Courier<'_>, held: &Held, local: &LocalEndpoint) -> bool {
    courier.tried.push(local.endpoint.id);
    let settings = &held.service.service.settings.retry;
    let others = held.slot.endpoints.iter().any(|other| !courier.tried.contains(&other.endpoint.id));
    if !others || !courier.may_replay || courier.attempts >= settings.attempts || !courier.is_whole() {
        return false;
    }
    let afforded = held.service.budget(&courier.exchange.worker.views).withdraw();
    courier.exchange.retried(afforded);
    // The other one gets its own time.
    held.lease.set_deadline(None);
    afforded
}

/// How long the answer may take to begin: less while another endpoint could still be asked.
pub(super) fn patience(courier: &Courier<'_>, held: &Held) -> Option<Duration> {
    let settings = &held.service.service.settings;
    let first_byte = settings.timeouts.first_byte;
    let another = courier.may_replay && courier.tried.len() + 1 < held.slot.endpoints.len();
    let limit = settings.retry.try_timeout.filter(|_| another && courier.attempts < settings.retry.attempts);
    limit.map_or(first_byte, |limit| Some(first_byte.map_or(limit, |other| other.min(limit))))
}

/// Nothing was sent: each endpoint is tried once; then, while one of them has not refused for long, all of them again.
///
/// # Errors
/// There is nothing left to try, or the request's time is over.
pub(super) async fn after_no_connection(
    courier: &mut Courier<'_>,
    held: &Held,
    local: &LocalEndpoint,
    error: ConnectError,
) -> Result<(), Failure> {
    outcome::no_connection(held, local, &error);
    courier.attempts -= 1;
    courier.tried.push(local.endpoint.id);
    let is_new = |other: &Rc<LocalEndpoint>| !courier.tried.contains(&other.endpoint.id);
    if held.lease.is_retired() || held.slot.endpoints.iter().any(is_new) {
        return Ok(());
    }
    let (wait, now) = (held.service.service.settings.retry.wait, Instant::now());
    let pools = held.slot.endpoints.iter().flat_map(|local| local.pools());
    if !pools.into_iter().any(|pool: &Pool| pool.is_worth_waiting_for(wait, now)) {
        courier.exchange.worker.complain(local, &error);
        let message = match error.kind() {
            FailureKind::UpstreamTls => "no TLS connection to an endpoint of the slot; the proxy's log says why",
            _ => "no connection to an endpoint of the slot",
        };
        return Err(Failure::new(error.kind(), message));
    }
    until_interrupt(&held.lease, tokio::time::sleep(PAUSE)).await.map_err(interrupted)?;
    courier.tried.clear();
    Ok(())
}
