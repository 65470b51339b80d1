//! Wake-ups of an HTTP/1.1 connection for which there is nothing to do.
//!
//! A body goes from its connection's task to its reader through a place for one part, and whoever takes the part wakes the
//! connection: there is room again. After the last part of a body whose length is known nothing will ever need that room,
//! and the turn is for nothing. Most bodies of that kind come in one part.
//!
//! So connections are polled with a waker of ours ([`Hush`]), and while a reader takes a part ([`poll_body`]) their wake-ups
//! on this thread wait until it is known which part it was. All others pass, whatever thread they come from.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

thread_local! {
    /// A reader takes a part just now.
    static TAKING: Cell<bool> = const { Cell::new(false) };
    /// The connection that it woke.
    static WOKEN: Cell<Option<Arc<Bell>>> = const { Cell::new(None) };
}

/// Polls a connection so that its wake-ups can wait. Belongs to one task.
#[derive(Debug, Default)]
pub struct Hush {
    /// The task's waker, and what is made of it.
    wakers: Option<(Waker, Waker)>,
}

/// Wakes the connection's task, now or when a reader has taken its part.
struct Bell(Waker);

/// A part is being taken; when this goes, even by a panic, the connection is woken if it was to be.
struct Taking {
    needless: bool,
}

impl Hush {
    pub fn poll<F: Future>(&mut self, connection: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (_, bell) = match &mut self.wakers {
            Some(wakers) if wakers.0.will_wake(cx.waker()) => wakers,
            wakers => wakers.insert((cx.waker().clone(), Waker::from(Arc::new(Bell(cx.waker().clone()))))),
        };
        connection.poll(&mut Context::from_waker(bell))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if TAKING.get() { WOKEN.set(Some(self)) } else { self.0.wake_by_ref() }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if TAKING.get() { WOKEN.set(Some(self.clone())) } else { self.0.wake_by_ref() }
    }
}

/// The next part of a body. Its connection, if a [`Hush`] polls it, is not woken for room that it has no use for.
pub fn poll_body(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    // Without a length no part is known to be the last.
    if body.size_hint().exact().is_none() {
        return Pin::new(body).poll_frame(cx);
    }
    let mut taking = Taking::begin();
    let polled = Pin::new(&mut *body).poll_frame(cx);
    taking.needless = body.is_end_stream();
    polled
}

impl Taking {
    fn begin() -> Self {
        TAKING.set(true);
        Self { needless: false }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        TAKING.set(false);
        if let Some(bell) = WOKEN.take()
            && !self.needless
        {
            bell.wake();
        }
    }
}

#[cfg(test)]
#[path = "hush_tests.rs"]
mod tests;
