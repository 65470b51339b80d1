//! A lease under the eyes of who passes an answer on.
//!
//! Each part of a stream asks whether it has to stop, and sets back the time that the next part may take. Were that done in
//! the ledger, then with hundreds of streams each part would fetch the lease's entry from far memory. So whether anybody was
//! told to stop at all is asked first, and the time in the ledger runs on: when it is over, it is looked whether it is.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{Interrupt, Lease, ledger::TICK_MAX};
use crate::net::Epoch;

/// See the file.
#[derive(Debug)]
pub struct Vigil {
    lease: Lease,
    looked: Option<Epoch>,
    /// When something began to be awaited, by the worker's clock.
    since: Option<Instant>,
    /// How long it may take.
    idle: Option<Duration>,
    /// The ledger counts.
    armed: bool,
}

impl Vigil {
    /// Nothing is awaited yet.
    pub fn new(lease: Lease, idle: Option<Duration>) -> Self {
        Self { lease, looked: None, since: None, idle, armed: false }
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The next part is awaited, or (`false`) not: it has come, or nobody can take it.
    pub fn set_waiting(&mut self, waiting: bool) {
        if self.idle.is_none() || waiting == self.since.is_some() {
            return;
        }
        self.since = waiting.then(|| self.lease.now());
        if waiting && !self.armed {
            self.arm();
        }
    }

    /// As [`Lease::poll_interrupt`]; [`Interrupt::TimedOut`] if the next part was awaited for too long.
    pub fn poll_interrupt(&mut self, cx: &Context<'_>) -> Poll<Interrupt> {
        let now = self.lease.epoch(cx);
        if self.looked == Some(now) {
            return Poll::Pending;
        }
        let mut interrupt = self.lease.poll_interrupt(cx);
        if interrupt == Poll::Ready(Interrupt::TimedOut) && !self.is_overdue() {
            self.arm();
            interrupt = self.lease.poll_interrupt(cx);
        }
        self.looked = interrupt.is_pending().then_some(now);
        interrupt
    }

    fn is_overdue(&self) -> bool {
        let over = |(since, idle): (Instant, Duration)| since + TICK_MAX + idle <= self.lease.now();
        self.since.zip(self.idle).is_some_and(over)
    }

    fn arm(&mut self) {
        self.lease.set_idle_since(self.idle, self.since.unwrap_or_else(|| self.lease.now()));
        self.armed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, sync::Arc, task::Waker};

    use super::{
        super::{Ledger, Tenure, patience::Patience},
        *,
    };
    use crate::ids::Slot;

    const IDLE: Duration = Duration::from_secs(10);

    /// A vigil, and what the ledger's ticks are: so many seconds after its beginning.
    fn start() -> (Vigil, impl Fn(u64), Rc<Ledger>) {
        let (ledger, tenure) = (Ledger::new(0), Rc::new(Arc::new(Tenure::new(Slot::Blue, 1))));
        let begun = Instant::now();
        let lease = ledger.acquire(&tenure, begun).unwrap();
        let ticking = ledger.clone();
        let tick = move |seconds| ticking.tick(begun + Duration::from_secs(seconds), Patience::default());
        tick(0);
        (Vigil::new(lease, Some(IDLE)), tick, ledger)
    }

    /// Fails when: parts that come do not set the time back, or the time is not counted anew after an alarm that was false.
    #[test]
    fn only_silence_is_too_long() {
        let (mut vigil, tick, _ledger) = start();
        let cx = Context::from_waker(Waker::noop());
        for second in 0..35 {
            tick(second);
            assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending, "in second {second}");
            vigil.set_waiting(false);
            vigil.set_waiting(true);
        }
        tick(44);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        tick(45);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Ready(Interrupt::TimedOut));
    }

    /// Fails when: the time runs while nothing is awaited.
    #[test]
    fn a_slow_client_has_all_the_time() {
        let (mut vigil, tick, _ledger) = start();
        let cx = Context::from_waker(Waker::noop());
        vigil.set_waiting(true);
        tick(5);
        vigil.set_waiting(false);
        for second in [11, 25, 60] {
            tick(second);
            assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        }
        vigil.set_waiting(true);
        tick(69);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        tick(71);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Ready(Interrupt::TimedOut));
    }

    /// Fails when: what the client sends does not set the time back, or sets it forward.
    #[test]
    fn a_conversation_goes_on() {
        let (mut vigil, tick, _ledger) = start();
        let cx = Context::from_waker(Waker::noop());
        vigil.set_waiting(true);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        tick(8);
        vigil.lease().touch();
        tick(17);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        tick(19);
        assert_eq!(vigil.poll_interrupt(&cx), Poll::Ready(Interrupt::TimedOut));
    }

    /// Fails when: a stop is not seen because nothing seems to have happened since the last look.
    #[test]
    fn a_cut_is_seen_at_once() {
        let (mut vigil, _tick, ledger) = start();
        let cx = Context::from_waker(Waker::noop());
        vigil.set_waiting(true);
        for _ in 0..2 {
            assert_eq!(vigil.poll_interrupt(&cx), Poll::Pending);
        }
        assert_eq!(ledger.cut(None), 1);
        for _ in 0..2 {
            assert_eq!(vigil.poll_interrupt(&cx), Poll::Ready(Interrupt::Cut));
        }
    }

    /// Fails when: another task than before is not woken.
    #[test]
    fn whoever_looked_last_is_woken() {
        struct Told(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Told {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let (mut vigil, _tick, ledger) = start();
        assert_eq!(vigil.poll_interrupt(&Context::from_waker(Waker::noop())), Poll::Pending);
        let told = Arc::new(Told(false.into()));
        assert_eq!(vigil.poll_interrupt(&Context::from_waker(&told.clone().into())), Poll::Pending);
        ledger.cut(None);
        assert!(told.0.load(std::sync::atomic::Ordering::Relaxed));
    }
}
