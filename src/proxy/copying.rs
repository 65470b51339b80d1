//! Where an exchange is copied for whoever has a tap on its slot. Nothing here is waited for, and nothing fails.

use std::rc::Rc;

use http::response;

use super::{exchange::Held, forward::Courier};
use crate::shadow::{Omission, Tee};

impl Courier<'_> {
    /// Begins a copy if somebody wants one; of the head as it is before the service's edits, which are made anew whenever
    /// the request is sent again.
    pub(super) fn begin_copy(&mut self, held: &Held) {
        let Some(tap) = self.exchange.worker.tap(&held.service.service.settings.name, held.slot.table.slot) else {
            return;
        };
        self.tee = self.head().and_then(|head| tap.tee(head, self.upgrade.is_some()));
    }

    /// The head has been rewritten, and the body is about to be sent. What the service strips from the path stays off.
    pub(super) fn copy_request(&self) {
        let Some(tee) = &self.tee else { return };
        if let Some(path) = self.head().and_then(|head| head.uri.path_and_query()) {
            tee.path(path);
        }
        match &self.body {
            Some(body) => body.show_to(tee.clone()),
            None => crate::upstream::Witness::ended(&**tee),
        }
    }

    /// The answer's head is here, before the service's edits. The copy goes on with the answer's body.
    pub(super) fn copy_answer(&mut self, held: &Held, head: &response::Parts) -> Option<Rc<Tee>> {
        let tee = self.tee.take()?;
        let tap = self.exchange.worker.tap(&held.service.service.settings.name, held.slot.table.slot);
        if !tap.is_some_and(|tap| tee.is_of(&tap)) {
            tee.give_up(Omission::Moved);
            return None;
        }
        tee.answer(head.status.as_u16(), &head.headers);
        Some(tee)
    }
}
