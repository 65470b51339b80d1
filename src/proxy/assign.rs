//! Picks the slot and takes a lease on it.

use std::{rc::Rc, time::Instant};

use http::request::Parts;

use super::{
    answer::Failure,
    exchange::{Exchange, Held},
    preview, route,
    worker::Worker,
};
use crate::{ids::Slot, table::Service, telemetry::FailureKind};

/// A lease on the slot that serves, or that an allowed caller names, of the service that takes the request.
pub(super) fn first(exchange: &Exchange, request: &Parts) -> Result<Held, Failure> {
    assign(&exchange.worker, request, exchange.started, |service| match &service.preview {
        None => Ok(None),
        Some(rules) => {
            let asked = preview::asked(exchange, service, rules, request)?;
            exchange.chosen.set(asked.is_some());
            Ok(asked)
        }
    })
}

/// A lease for a request that had one, on a slot that was left meanwhile. Who named that slot gets no other one.
pub(super) fn again(exchange: &Exchange, request: &Parts, now: Instant) -> Result<Held, Failure> {
    let before = exchange.held().filter(|_| exchange.chosen.get());
    assign(&exchange.worker, request, now, |service| match &before {
        None => Ok(None),
        Some(before) => preview::asked_before(before, service),
    })
}

/// The lease is counted before it is looked whether the slot is still open. If it is not, a newer table is already
/// there to be read, so the loop ends after as many rounds as there were changes in its few nanoseconds.
fn assign(
    worker: &Rc<Worker>,
    request: &Parts,
    now: Instant,
    choose: impl Fn(&Service) -> Result<Option<Slot>, Failure>,
) -> Result<Held, Failure> {
    loop {
        let view = worker.views.current();
        let Some(index) = route::find(&view.table, request) else {
            return Err(Failure::new(FailureKind::NoService, "no service takes this host, path and headers"));
        };
        let service = view.service(index);
        let chosen = choose(&service.service)?;
        if let Some(slot) = chosen {
            preview::check(&service.service, slot)?;
        }
        let slot = service.slot(chosen.unwrap_or(service.service.active), &worker.views);
        if let Some(lease) = worker.ledger.acquire(&slot.tenure, now) {
            return Ok(Held { service: service.clone(), slot: slot.clone(), lease });
        }
    }
}
