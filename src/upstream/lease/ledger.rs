//! A worker's ledger: every live lease of that worker with its age, kind and deadline.
//!
//! It lives on one thread. Deadlines are looked at by the worker's tick, so that a request costs no timer; they are met
//! up to one tick late.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    LeaseKind, Tenure,
    patience::{Patience, Wait},
};
use crate::{
    net::{Abort, Epoch},
    telemetry::FailureKind,
};

/// The worker ticks at least so often, when it is not overloaded.
pub(super) const TICK_MAX: Duration = Duration::from_millis(100);

/// Limits from this on are counted from the worker's clock.
const COARSE_MIN: Duration = Duration::from_secs(5);

/// A worker's own pointer to a tenure, so that taking a lease does not touch a reference count that all workers share.
pub type LocalTenure = Rc<Arc<Tenure>>;

/// Why the holder of a lease has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The operator's drain or shutdown deadline.
    Cut,
    /// What the holder waits for did not come in time.
    TimedOut,
    /// The request as a whole has had its time; the word says whose limit it was.
    OverLimit(FailureKind),
}

/// All live leases of one worker.
pub struct Ledger {
    worker: usize,
    entries: RefCell<Slab<Entry>>,
    /// The time of the last tick: near enough for limits of seconds, and costs nothing to read.
    now: Cell<Instant>,
    /// How often a holder was told to stop.
    stops: Cell<u64>,
}

/// In the order written: what is looked at most often is in the first line of memory.
#[repr(C, align(64))]
struct Entry {
    waker: Option<Waker>,
    /// Of what the holder waits for now.
    deadline: Option<Instant>,
    /// What moves the deadline on by this much: see [`Lease::touch`].
    idle: Option<Duration>,
    interrupt: Option<Interrupt>,
    kind: LeaseKind,
    /// It was cut before the last tick.
    overdue: bool,
    holders: u32,
    started: Instant,
    tenure: LocalTenure,
    /// Ends the task that serves the holder, if it does not end by itself when it is cut.
    abort: Option<Rc<Abort>>,
    /// Of the request as a whole.
    limit: Option<(Instant, FailureKind)>,
    /// The client is waited for: to send more of its request, and to take more of its answer.
    body_wait: Wait,
    send_wait: Wait,
    body_waker: Option<Waker>,
}

/// The right to use a slot. Clones share it; it ends when the last one is dropped.
pub struct Lease {
    ledger: Rc<Ledger>,
    key: usize,
}

impl Ledger {
    pub fn new(worker: usize) -> Rc<Self> {
        Rc::new(Self { worker, entries: RefCell::default(), now: Cell::new(Instant::now()), stops: Cell::new(0) })
    }

    /// Takes a lease, or `None` if the tenure is retired: then read the table again.
    pub fn acquire(self: &Rc<Self>, tenure: &LocalTenure, now: Instant) -> Option<Lease> {
        if !tenure.count.try_acquire(self.worker) {
            tenure.wake_if_drained();
            return None;
        }
        let key = self.entries.borrow_mut().insert(Entry {
            tenure: tenure.clone(),
            started: now,
            kind: LeaseKind::Unary,
            holders: 1,
            deadline: None,
            idle: None,
            limit: None,
            interrupt: None,
            waker: None,
            abort: None,
            overdue: false,
            body_wait: Wait::No,
            body_waker: None,
            send_wait: Wait::No,
        });
        Some(Lease { ledger: self.clone(), key })
    }

    /// Ends what is past its deadline, and what was cut before the last tick and did not end: its client does not read.
    /// So does a wait for a client that is over by its `patience`.
    pub fn tick(&self, now: Instant, patience: Patience) {
        self.now.set(now);
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            entry.tick_waits(now, patience);
            if matches!(entry.interrupt, Some(Interrupt::Cut | Interrupt::OverLimit(_)))
                && let Some(abort) = &entry.abort
                && std::mem::replace(&mut entry.overdue, true)
            {
                abort.fire();
                continue;
            }
            entry.watch_time(now, &self.stops);
        }
    }

    /// Cuts every lease of these tenures (`None`: of all). Returns how many.
    pub fn cut(&self, tenures: Option<&[Arc<Tenure>]>) -> u64 {
        let mut leases = 0;
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            let meant = tenures.is_none_or(|list| list.iter().any(|tenure| Arc::ptr_eq(tenure, &entry.tenure)));
            if meant && entry.interrupt != Some(Interrupt::Cut) {
                entry.stop(Interrupt::Cut, &self.stops);
                entry.tenure.add_cut(1);
                leases += 1;
            }
        }
        leases
    }

    /// The age of the oldest lease of each tenure.
    pub fn oldest(&self, tenures: &[Arc<Tenure>], now: Instant) -> Vec<Option<Duration>> {
        let mut oldest = vec![None; tenures.len()];
        for (_, entry) in self.entries.borrow().iter() {
            if let Some(index) = tenures.iter().position(|tenure| Arc::ptr_eq(tenure, &entry.tenure)) {
                oldest[index] = oldest[index].max(Some(now.saturating_duration_since(entry.started)));
            }
        }
        oldest
    }

    /// Number of live leases.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    fn watch_time(&mut self, now: Instant, stops: &Cell<u64>) {
        if !matches!(self.interrupt, None | Some(Interrupt::TimedOut)) {
            return;
        }
        if let Some((_, kind)) = self.limit.take_if(|(limit, _)| *limit <= now) {
            self.stop(Interrupt::OverLimit(kind), stops);
        } else if self.deadline.take_if(|deadline| *deadline <= now).is_some() {
            self.stop(Interrupt::TimedOut, stops);
        }
    }

    fn tick_waits(&mut self, now: Instant, patience: Patience) {
        if self.body_wait.tick(now, patience.body)
            && let Some(waker) = self.body_waker.take()
        {
            waker.wake();
        }
        if self.send_wait.tick(now, patience.send)
            && let Some(abort) = &self.abort
        {
            abort.fire();
        }
    }

    /// What was waited for came after all.
    fn forget_time_out(&mut self) {
        if self.interrupt == Some(Interrupt::TimedOut) {
            self.interrupt = None;
        }
    }

    fn stop(&mut self, interrupt: Interrupt, stops: &Cell<u64>) {
        stops.set(stops.get() + 1);
        self.interrupt = Some(interrupt);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Lease {
    /// What the lease's holder turned out to be.
    pub fn classify(&self, kind: LeaseKind) {
        let mut entries = self.ledger.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if entry.kind != kind {
            entry.tenure.count.reclassify(self.ledger.worker, entry.kind, kind);
            entry.kind = kind;
        }
    }

    /// Interrupt the holder at this time, or not at all. An earlier deadline that has passed is forgotten.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        let entry = &mut self.ledger.entries.borrow_mut()[self.key];
        entry.deadline = deadline;
        entry.idle = None;
        entry.forget_time_out();
    }

    /// Interrupt the holder after this long, or not at all. A limit of seconds is counted from the worker's clock, which
    /// costs nothing to read and is set at each tick, and met up to two ticks late; a shorter one from the time itself.
    ///
    /// Early only if the worker stood still: when its last tick is older than a tick should be, the limit is met earlier by
    /// the time that the worker stood still beyond that tick.
    pub fn expect_within(&self, limit: Option<Duration>) {
        self.set_deadline(limit.map(|limit| {
            let now = if limit < COARSE_MIN { Instant::now() } else { self.ledger.now.get() + TICK_MAX };
            now + limit
        }));
    }

    /// Interrupt the holder if nothing happens for this long; up to a tick late.
    pub fn set_idle(&self, limit: Option<Duration>) {
        self.set_idle_since(limit, self.now());
    }

    /// The same, for somebody for whom nothing has happened since then by the worker's clock.
    pub(super) fn set_idle_since(&self, limit: Option<Duration>, since: Instant) {
        let entry = &mut self.ledger.entries.borrow_mut()[self.key];
        entry.idle = limit;
        entry.deadline = limit.map(|idle| since + TICK_MAX + idle);
        entry.forget_time_out();
    }

    /// By the worker's clock, which costs nothing to read.
    pub(super) fn now(&self) -> Instant {
        self.ledger.now.get()
    }

    /// While this is the same, and the task of the latest [`Lease::poll_interrupt`], so is what that found.
    pub(super) fn epoch(&self, cx: &Context<'_>) -> Epoch {
        Epoch::new(self.ledger.stops.get(), cx)
    }

    /// Something happened: an idle time begins anew. The end of the current tick counts as now, so that it never ends early.
    pub fn touch(&self) {
        let entry = &mut self.ledger.entries.borrow_mut()[self.key];
        if let Some(idle) = entry.idle {
            entry.deadline = Some(self.ledger.now.get() + TICK_MAX + idle);
        }
    }

    /// The request as a whole ends at this time, whatever it waits for then. Of two limits the earlier one counts.
    pub fn limit(&self, at: Instant, kind: FailureKind) {
        let entry = &mut self.ledger.entries.borrow_mut()[self.key];
        if entry.limit.is_none_or(|(earlier, _)| at < earlier) {
            entry.limit = Some((at, kind));
        }
    }

    /// The request turned out to be one that may take as long as it likes, as far as this limit is concerned.
    pub fn lift_limit(&self, kind: FailureKind) {
        let _ = self.ledger.entries.borrow_mut()[self.key].limit.take_if(|(_, set)| *set == kind);
    }

    /// How to end the task that serves the holder.
    pub fn set_abort(&self, abort: Option<Rc<Abort>>) {
        self.ledger.entries.borrow_mut()[self.key].abort = abort;
    }

    /// Ready when the holder has to stop. Registers the task of the latest call only.
    pub fn poll_interrupt(&self, cx: &Context<'_>) -> Poll<Interrupt> {
        let mut entries = self.ledger.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if let Some(interrupt) = entry.interrupt {
            return Poll::Ready(interrupt);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The server could take more of the request than the client has sent. Ready when that has been so for too long;
    /// wakes the task of the latest call.
    pub fn poll_body_patience(&self, cx: &Context<'_>) -> Poll<()> {
        let entry = &mut self.ledger.entries.borrow_mut()[self.key];
        if entry.body_wait == Wait::Over {
            return Poll::Ready(());
        }
        entry.body_wait.begin();
        if !entry.body_waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.body_waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The client is no longer waited for to send.
    pub fn body_came(&self) {
        self.ledger.entries.borrow_mut()[self.key].body_wait = Wait::No;
    }

    /// The answer flows while the request is still open: the client may be silent for as long again.
    pub fn renew_body_patience(&self) {
        self.ledger.entries.borrow_mut()[self.key].body_wait.renew();
    }

    /// Part of the answer is there for the client to take, or (`false`) it was taken.
    pub fn set_untaken(&self, untaken: bool) {
        let wait = &mut self.ledger.entries.borrow_mut()[self.key].send_wait;
        match untaken {
            true => wait.begin(),
            false => *wait = Wait::No,
        }
    }

    /// True if it was ended because the client took nothing.
    pub fn is_client_stalled(&self) -> bool {
        self.ledger.entries.borrow()[self.key].send_wait == Wait::Over
    }

    /// True once the slot has been left by a switch; a replay should then take the new slot.
    pub fn is_retired(&self) -> bool {
        self.ledger.entries.borrow()[self.key].tenure.is_retired()
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.ledger.entries.borrow_mut()[self.key].holders += 1;
        Self { ledger: self.ledger.clone(), key: self.key }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries.borrow_mut();
        let entry = &mut entries[self.key];
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        let entry = entries.remove(self.key);
        if entry.tenure.count.release_as(self.ledger.worker, entry.kind) {
            entry.tenure.wake_if_drained();
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("worker", &self.worker).field("leases", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slot;

    fn tenure() -> LocalTenure {
        Rc::new(Arc::new(Tenure::new(Slot::Blue, 1)))
    }

    #[test]
    fn a_lease_ends_with_its_last_holder() {
        let (ledger, tenure, now) = (Ledger::new(0), tenure(), Instant::now());
        let lease = ledger.acquire(&tenure, now).unwrap();
        let second = lease.clone();
        drop(lease);
        tenure.retire();
        assert!(!tenure.is_drained());
        assert!(ledger.acquire(&tenure, now).is_none(), "a retired tenure gives no lease");
        drop(second);
        assert!(tenure.is_drained());
    }

    #[test]
    fn kinds_and_ages_are_seen() {
        let (ledger, tenure, now) = (Ledger::new(0), tenure(), Instant::now());
        let old = ledger.acquire(&tenure, now).unwrap();
        let _young = ledger.acquire(&tenure, now + Duration::from_secs(3)).unwrap();
        old.classify(LeaseKind::Tunnel);
        let held = tenure.in_flight();
        assert_eq!((held.unary, held.stream, held.tunnel), (1, 0, 1));
        let ages = ledger.oldest(&[(*tenure).clone()], now + Duration::from_secs(5));
        assert_eq!(ages, [Some(Duration::from_secs(5))]);
    }

    #[test]
    fn cuts_and_deadlines_interrupt_once() {
        let (ledger, tenure, now) = (Ledger::new(0), tenure(), Instant::now());
        let lease = ledger.acquire(&tenure, now).unwrap();
        let cx = Context::from_waker(Waker::noop());
        lease.set_deadline(Some(now + Duration::from_secs(1)));
        ledger.tick(now, Patience::default());
        assert_eq!(lease.poll_interrupt(&cx), Poll::Pending);
        ledger.tick(now + Duration::from_secs(1), Patience::default());
        assert_eq!(lease.poll_interrupt(&cx), Poll::Ready(Interrupt::TimedOut));
        lease.set_deadline(None);
        assert_eq!(lease.poll_interrupt(&cx), Poll::Pending, "what was waited for came after all");
        lease.set_idle(Some(Duration::from_secs(2)));
        ledger.tick(now + Duration::from_secs(2), Patience::default());
        lease.touch();
        ledger.tick(now + Duration::from_secs(4), Patience::default());
        assert_eq!(lease.poll_interrupt(&cx), Poll::Pending, "it was touched two seconds ago");
        lease.set_deadline(None);
        lease.limit(now + Duration::from_secs(9), FailureKind::UpstreamTimeout);
        lease.limit(now + Duration::from_secs(5), FailureKind::ClientBody);
        ledger.tick(now + Duration::from_secs(5), Patience::default());
        assert_eq!(lease.poll_interrupt(&cx), Poll::Ready(Interrupt::OverLimit(FailureKind::ClientBody)));
        assert_eq!(ledger.cut(None), 1);
        assert_eq!(ledger.cut(None), 0, "a lease is cut once");
        assert_eq!(tenure.cut(), 1);
    }
}
