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
    use std::{
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        task::{Wake, Waker},
    };

    use super::{
        super::{Ledger, Tenure, patience::Patience},
        *,
    };
    use crate::ids::Slot;

    const IDLE: Duration = Duration::from_secs(10);
    const TOO_LONG: Poll<Interrupt> = Poll::Ready(Interrupt::TimedOut);

    /// A vigil from second 0 on.
    struct Night {
        vigil: Vigil,
        ledger: Rc<Ledger>,
        begun: Instant,
    }

    impl Night {
        fn begin() -> Self {
            let (ledger, tenure) = (Ledger::new(0), Rc::new(Arc::new(Tenure::new(Slot::Blue, 1))));
            let begun = Instant::now();
            let lease = ledger.acquire(&tenure, begun).unwrap();
            let night = Self { vigil: Vigil::new(lease, Some(IDLE)), ledger, begun };
            night.tick(0);
            night
        }

        fn tick(&self, second: u64) {
            self.ledger.tick(self.begun + Duration::from_secs(second), Patience::default());
        }

        fn look(&mut self) -> Poll<Interrupt> {
            self.vigil.poll_interrupt(&Context::from_waker(Waker::noop()))
        }

        fn look_at(&mut self, second: u64) -> Poll<Interrupt> {
            self.tick(second);
            self.look()
        }
    }

    /// Fails when: parts that come do not set the time back, or the time is not counted anew after an alarm that was false.
    #[test]
    fn only_silence_is_too_long() {
        let mut night = Night::begin();
        for second in 0..35 {
            assert_eq!(night.look_at(second), Poll::Pending, "in second {second}");
            night.vigil.set_waiting(false);
            night.vigil.set_waiting(true);
        }
        assert_eq!((night.look_at(44), night.look_at(45)), (Poll::Pending, TOO_LONG));
    }

    /// Fails when: the time runs while nothing is awaited.
    #[test]
    fn a_slow_client_has_all_the_time() {
        let mut night = Night::begin();
        night.vigil.set_waiting(true);
        night.tick(5);
        night.vigil.set_waiting(false);
        assert_eq!([11, 25, 60].map(|second| night.look_at(second)), [Poll::Pending; 3]);
        night.vigil.set_waiting(true);
        assert_eq!((night.look_at(69), night.look_at(71)), (Poll::Pending, TOO_LONG));
    }

    /// Fails when: what the client sends does not set the time back, or sets it forward.
    #[test]
    fn a_conversation_goes_on() {
        let mut night = Night::begin();
        night.vigil.set_waiting(true);
        assert_eq!(night.look_at(8), Poll::Pending);
        night.vigil.lease().touch();
        assert_eq!((night.look_at(17), night.look_at(19)), (Poll::Pending, TOO_LONG));
    }

    /// Fails when: a stop is not seen because nothing seems to have happened since the last look.
    #[test]
    fn a_cut_is_seen_at_once() {
        let mut night = Night::begin();
        night.vigil.set_waiting(true);
        assert_eq!((night.look(), night.look()), (Poll::Pending, Poll::Pending));
        assert_eq!(night.ledger.cut(None), 1);
        let cut = Poll::Ready(Interrupt::Cut);
        assert_eq!((night.look(), night.look()), (cut, cut));
    }

    /// Fails when: another task than before is not woken.
    #[test]
    fn whoever_looked_last_is_woken() {
        let mut night = Night::begin();
        assert_eq!(night.look(), Poll::Pending);
        let told = Arc::new(Told(AtomicBool::new(false)));
        assert_eq!(night.vigil.poll_interrupt(&Context::from_waker(&told.clone().into())), Poll::Pending);
        night.ledger.cut(None);
        assert!(told.0.load(Relaxed));
    }

    struct Told(AtomicBool);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }
}
