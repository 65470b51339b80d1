//! A request's turn: where a slot takes only so many at once, it waits in a bounded queue.
//!
//! It holds its lease meanwhile. If a switch leaves the slot, it takes the one that serves then, and waits there.

use std::time::Instant;

use super::{
    answer::Failure,
    exchange::Held,
    forward::Courier,
    interrupt::{interrupted, until_interrupt},
};
use crate::{telemetry::FailureKind, upstream::lease::Interrupt};

/// Makes sure of the slot that the request is to be sent to, with a place in it; it may be another than the one that is
/// held.
///
/// # Errors
/// The queue is full, the turn did not come in time, or the request's time is over.
pub(super) async fn hold(courier: &mut Courier<'_>, held: &mut Held) -> Result<(), Failure> {
    loop {
        let must_move = held.lease.is_retired() && (courier.has_begun || courier.queue_until.is_some());
        if !must_move {
            let is_in = !held.slot.table.turnstile.is_limited() || courier.exchange.has_place();
            if is_in || Box::pin(enter(courier, held)).await? {
                courier.has_begun = true;
                return Ok(());
            }
            if !held.lease.is_retired() {
                continue; // The limit has changed meanwhile.
            }
        }
        courier.exchange.give_place_back();
        *held = courier.move_on()?;
        courier.tried.clear();
    }
}

/// Waits for a place. False: what it waited for has changed.
async fn enter(courier: &mut Courier<'_>, held: &Held) -> Result<bool, Failure> {
    let turnstile = &held.slot.table.turnstile;
    if let Some(place) = turnstile.enter() {
        courier.exchange.take_place(place);
        return Ok(true);
    }
    let limits = &held.service.service.settings.limits;
    let Some(queued) = turnstile.queue(limits.queue) else {
        return Err(Failure::new(FailureKind::QueueFull, "as many requests as permitted wait for this model already"));
    };
    let until = *courier.queue_until.get_or_insert_with(|| Instant::now() + limits.queue_timeout);
    held.lease.set_deadline(Some(until));
    let turn = until_interrupt(&held.lease, queued.turn(|| held.lease.is_retired())).await;
    let place = turn.map_err(|interrupt| match interrupt {
        Interrupt::TimedOut => {
            Failure::new(FailureKind::QueueTimeout, "the request's turn did not come within limits.queue_timeout")
        }
        other => interrupted(other),
    })?;
    held.lease.set_deadline(None);
    Ok(place.is_some_and(|place| {
        courier.exchange.take_place(place);
        true
    }))
}
