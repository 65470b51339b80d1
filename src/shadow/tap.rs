//! A tap on one slot: which exchanges are copied, and within which bounds.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderName, request::Parts};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    copied::{Budget, Copied},
    omission::Omission,
    tee::Tee,
    wanted::Wanted,
};

/// How much may be copied.
#[derive(Clone, Copy, Debug)]
pub struct CopyBounds {
    pub request_bytes_max: usize,
    pub answer_bytes_max: usize,
    /// Of all copies together, those that wait to be drawn and those in the making.
    pub bytes_max: usize,
    /// Exchanges that are copied at the same time.
    pub at_once_max: usize,
    /// Copies that may wait to be drawn, at least one.
    pub waiting_max: usize,
}

/// What a tap has seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapCounts {
    /// Requests of the slot.
    pub seen: u64,
    /// Those that were wanted.
    pub matching: u64,
    pub omitted: Vec<(Omission, u64)>,
}

/// A tap. Workers share it.
#[derive(Debug)]
pub struct Tap {
    wanted: Wanted,
    /// Fields of requests that are not copied.
    without: Vec<HeaderName>,
    pub(super) bounds: CopyBounds,
    pub(super) budget: Arc<Budget>,
    outlet: mpsc::Sender<Copied>,
    seen: AtomicU64,
    matching: AtomicU64,
    pub(super) open: AtomicUsize,
    omitted: [AtomicU64; Omission::ALL.len()],
}

impl Tap {
    pub(super) fn new(
        wanted: Wanted,
        without: Vec<HeaderName>,
        bounds: CopyBounds,
        outlet: mpsc::Sender<Copied>,
    ) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            without,
            bounds,
            budget: Budget::new(bounds.bytes_max),
            outlet,
            seen: AtomicU64::new(0),
            matching: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            omitted: Default::default(),
        })
    }

    /// The beginning of a copy, if the request is wanted. `head` is the request's before the service's edits, its hop
    /// ended; `is_upgrade` if it asks for another protocol.
    pub fn tee(self: &Arc<Self>, head: &Parts, is_upgrade: bool) -> Option<Rc<Tee>> {
        if self.is_closed() {
            return None;
        }
        self.seen.fetch_add(1, Relaxed);
        if !self.wanted.takes(head) {
            return None;
        }
        if !self.matching.fetch_add(1, Relaxed).is_multiple_of(self.wanted.every.max(1)) {
            return None;
        }
        if is_upgrade {
            self.omit(Omission::Upgrade);
            return None;
        }
        let crowded = |open: usize| (open < self.bounds.at_once_max).then_some(open + 1);
        if self.open.fetch_update(Relaxed, Relaxed, crowded).is_err() {
            self.omit(Omission::Crowded);
            return None;
        }
        Some(Tee::begin(self.clone(), head, self.kept(&head.headers)))
    }

    fn kept(&self, fields: &HeaderMap) -> HeaderMap {
        let mut kept = fields.clone();
        for name in &self.without {
            kept.remove(name);
        }
        kept
    }

    /// Nobody draws from it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.outlet.is_closed()
    }

    /// Never waits: what finds the outlet full is left out.
    pub(super) fn give(&self, copied: Copied) {
        if let Err(TrySendError::Full(_)) = self.outlet.try_send(copied) {
            self.omit(Omission::Undrawn);
        }
    }

    pub(super) fn omit(&self, why: Omission) {
        self.omitted[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> TapCounts {
        let count = |why: Omission| (why, self.omitted[why as usize].load(Relaxed));
        let mut omitted: Vec<_> = Omission::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect();
        let open = self.open.load(Relaxed) as u64;
        if open > 0 {
            omitted.push((Omission::Unfinished, open));
        }
        TapCounts { seen: self.seen.load(Relaxed), matching: self.matching.load(Relaxed), omitted }
    }
}
