//! `Expect: 100-continue`, end to end (RFC 9110 section 10.1.1): a client that asks before it sends its body is told by
//! the server, not by the proxy.
//!
//! The body is held back until the server says 100, or has said nothing for a while: many servers know no expectations,
//! and a client that waits must not wait for ever. A final answer that comes first ends the wait without a body.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Sleep;

/// How long a server may leave an expectation unanswered. Clients of their own wait about as long.
const PATIENCE: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const FULFILLED: u8 = 1;
/// A final answer began; the body is not wanted any more.
const ANSWERED: u8 = 2;
/// The answer has ended; the request is not to be kept open for a body that will not come.
const GIVEN_UP: u8 = 3;

/// One request's expectation. Shared with hyper's callback, which wants it `Sync`; one thread uses it.
#[derive(Debug, Default)]
pub struct Expectation {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// The body will not be asked for.
#[derive(Debug)]
pub(super) struct NotWanted;

impl Expectation {
    /// The body may be sent.
    pub fn fulfil(&self) {
        self.change(WAITING, FULFILLED);
    }

    /// A final answer has begun. True if the body had not been asked for.
    pub fn answer(&self) -> bool {
        self.change(WAITING, ANSWERED)
    }

    /// The exchange is over.
    pub fn give_up(&self) {
        self.change(WAITING, GIVEN_UP);
        self.change(ANSWERED, GIVEN_UP);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotWanted>> {
        match self.state.load(Relaxed) {
            FULFILLED => Poll::Ready(Ok(())),
            GIVEN_UP => Poll::Ready(Err(NotWanted)),
            _ => {
                *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let changed = self.state.compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        if changed && let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
        changed
    }
}

/// A body that waits for its expectation, and its patience.
#[derive(Debug)]
pub(super) struct HeldBack {
    expectation: Arc<Expectation>,
    patience: Pin<Box<Sleep>>,
}

impl HeldBack {
    pub(super) fn new(expectation: Arc<Expectation>) -> Self {
        Self { expectation, patience: Box::pin(tokio::time::sleep(PATIENCE)) }
    }

    /// Ready when the body may be read, or surely will not be wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotWanted>> {
        if self.patience.as_mut().poll(cx).is_ready() {
            self.expectation.fulfil();
        }
        self.expectation.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_decides() {
        let mut cx = Context::from_waker(Waker::noop());
        let fulfilled = Expectation::default();
        assert!(fulfilled.poll(&mut cx).is_pending());
        fulfilled.fulfil();
        assert!(!fulfilled.answer(), "the body was asked for");
        fulfilled.give_up();
        assert!(matches!(fulfilled.poll(&mut cx), Poll::Ready(Ok(()))));
        let answered = Expectation::default();
        assert!(answered.answer());
        answered.fulfil();
        assert!(answered.poll(&mut cx).is_pending(), "a body after the answer is nobody's");
        answered.give_up();
        assert!(matches!(answered.poll(&mut cx), Poll::Ready(Err(NotWanted))));
    }
}
