//! Picks the slot and takes a lease on it.

use std::{rc::Rc, time::Instant};

use http::request::Parts;

use super::{answer::Failure, exchange::Held, route, worker::Worker};
use crate::telemetry::FailureKind;

/// A lease on the active slot of the service that takes the request.
///
/// The lease is counted before it is looked whether the slot still serves. If it does not, a newer table is already
/// there to be read, so the loop ends after as many rounds as there were switches in its few nanoseconds.
pub(super) fn assign(worker: &Rc<Worker>, request: &Parts, now: Instant) -> Result<Held, Failure> {
    loop {
        let view = worker.views.current();
        let Some(index) = route::find(&view.table, request) else {
            return Err(Failure::new(FailureKind::NoService, "no service takes this host, path and headers"));
        };
        let service = view.service(index);
        let slot = service.slot(service.service.active, &worker.views);
        if let Some(lease) = worker.ledger.acquire(&slot.tenure, now) {
            return Ok(Held { service: service.clone(), slot: slot.clone(), lease });
        }
    }
}
