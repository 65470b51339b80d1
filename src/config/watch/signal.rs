//! A wake-up call from the notify thread and the [`super::Watcher`] to the watching thread: many calls are one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use super::Pace;

/// The side that calls.
#[derive(Clone, Debug)]
pub(super) struct Waker {
    calls: SyncSender<()>,
    stopped: Arc<AtomicBool>,
}

/// The side that waits.
#[derive(Debug)]
pub(super) struct Signal {
    calls: Receiver<()>,
    stopped: Arc<AtomicBool>,
}

/// Why to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something happened, and then nothing for a while: the writer is probably done.
    Events,
    /// It was time to. Nothing is known of writers.
    Poll,
}

pub(super) fn pair() -> (Waker, Signal) {
    // One place is enough: a call that finds it taken has been made already.
    let (sender, receiver) = sync_channel(1);
    let stopped = Arc::new(AtomicBool::new(false));
    (Waker { calls: sender, stopped: Arc::clone(&stopped) }, Signal { calls: receiver, stopped })
}

impl Waker {
    /// `false` if nobody waits any more.
    pub(super) fn wake(&self) -> bool {
        !matches!(self.calls.try_send(()), Err(TrySendError::Disconnected(())))
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }
}

impl Signal {
    /// Waits for a call and for the quiet after it, or for the poll. `None` means stop.
    pub(super) fn wait(&self, pace: Pace) -> Option<Reason> {
        let reason = if self.called_within(pace.poll) {
            let burst = Instant::now();
            while !self.stopped() && burst.elapsed() < pace.burst_max && self.called_within(pace.quiet) {}
            Reason::Events
        } else {
            Reason::Poll
        };
        Some(reason).filter(|_| !self.stopped())
    }

    /// Waits for a call, at most this long.
    pub(super) fn called_within(&self, patience: Duration) -> bool {
        match self.calls.recv_timeout(patience) {
            Ok(()) => true,
            // The lookout holds a waker of its own, so the channel outlives this thread; `Disconnected` cannot be.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
