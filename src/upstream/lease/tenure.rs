//! A tenure: one time that one set of endpoints takes requests, from being published to being left or replaced. A slot
//! that stands by may have one, too, for callers that choose it; it goes on when the slot becomes the active one.
//!
//! Leases are counted on this object and not on a slot's name, so that blue → green → blue never mixes the old blue's
//! requests with the new one's (edge case E2).

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::count::{LeaseCount, LeaseKinds};
use crate::ids::Slot;

/// One time that one set of endpoints takes requests.
pub struct Tenure {
    pub slot: Slot,
    pub(super) count: LeaseCount,
    cut: AtomicU64,
    drained: Notify,
}

impl Tenure {
    /// An open tenure, counted by so many workers.
    pub fn new(slot: Slot, workers: usize) -> Self {
        Self { slot, count: LeaseCount::new(workers), cut: AtomicU64::new(0), drained: Notify::new() }
    }

    /// A tenure that nobody can take a lease of: a slot that takes no requests.
    pub fn standby(slot: Slot) -> Self {
        let tenure = Self::new(slot, 1);
        tenure.retire();
        tenure
    }

    /// No lease can start from here on. Call it after the next table is published, never before.
    pub fn retire(&self) {
        self.count.retire();
        self.wake_if_drained();
    }

    /// True once `retire` has been called.
    pub fn is_retired(&self) -> bool {
        self.count.is_retired()
    }

    /// True when no lease is held and none can start. Never becomes false again.
    pub fn is_drained(&self) -> bool {
        self.count.is_drained()
    }

    /// Leases held now, by kind. May count, for an instant, one that is about to be refused.
    pub fn in_flight(&self) -> LeaseKinds {
        self.count.by_kind()
    }

    /// Leases that a deadline cut.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Returns when the tenure is drained. Cancel-safe.
    pub async fn drained(&self) {
        loop {
            let woken = self.drained.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.is_drained() {
                return;
            }
            woken.await;
        }
    }

    pub(super) fn add_cut(&self, leases: u64) {
        self.cut.fetch_add(leases, Ordering::Relaxed);
    }

    pub(super) fn wake_if_drained(&self) {
        if self.count.is_drained() {
            self.drained.notify_waiters();
        }
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure")
            .field("slot", &self.slot)
            .field("in_flight", &self.in_flight().total)
            .field("retired", &self.is_retired())
            .finish_non_exhaustive()
    }
}
