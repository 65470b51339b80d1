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
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

thread_local! {
    /// A reader takes a part just now, and has woken nobody so far: a second wake-up would not be for the room.
    static TAKING: Cell<bool> = const { Cell::new(false) };
    /// The connection that it woke.
    static WOKEN: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Wakes the task that polls a connection. Part of what is shared about the connection, so that it costs no memory of its
/// own: with hundreds of streams each line has to be fetched anew for each of them.
#[derive(Debug, Default)]
pub struct Bell(OnceLock<Waker>);

/// What is shared about a connection, with the bell of its task; `wakes_by_bell` makes it one.
pub trait HasBell: Wake + Send + Sync + 'static {
    fn bell(&self) -> &Bell;
}

/// Makes a type with a field `bell` a waker that rings it; [`Wake`] cannot be implemented for all of them at once.
macro_rules! wakes_by_bell {
    ($shared:ty) => {
        impl $crate::net::hush::HasBell for $shared {
            fn bell(&self) -> &$crate::net::hush::Bell {
                &self.bell
            }
        }

        impl std::task::Wake for $shared {
            fn wake(self: std::sync::Arc<Self>) {
                $crate::net::hush::wake(self);
            }

            fn wake_by_ref(self: &std::sync::Arc<Self>) {
                $crate::net::hush::wake_by_ref(self);
            }
        }
    };
}
pub(crate) use wakes_by_bell;

/// Polls a connection so that its wake-ups can wait.
#[derive(Debug)]
pub struct Hush<T> {
    shared: Arc<T>,
    waker: Waker,
}

/// A part is being taken; when this goes, even by a panic, the connection is woken if it was to be.
struct Taking {
    needless: bool,
}

impl Bell {
    /// Wakes the task, if there is one yet.
    pub fn ring(&self) {
        if let Some(task) = self.0.get() {
            task.wake_by_ref();
        }
    }
}

impl<T: HasBell> Hush<T> {
    /// For the task that will poll the connection, from now on and alone.
    pub fn new(shared: Arc<T>) -> Self {
        Self { waker: Waker::from(shared.clone()), shared }
    }

    pub fn poll<F: Future>(&self, connection: Pin<&mut F>, cx: &Context<'_>) -> Poll<F::Output> {
        // A task's waker stays the same for its life.
        self.shared.bell().0.get_or_init(|| cx.waker().clone());
        connection.poll(&mut Context::from_waker(&self.waker))
    }
}

/// What waking a [`HasBell`] means: to be called by its [`Wake::wake`].
pub fn wake<T: HasBell>(shared: Arc<T>) {
    if TAKING.take() { WOKEN.set(Some(Waker::from(shared))) } else { shared.bell().ring() }
}

/// The same for its [`Wake::wake_by_ref`].
pub fn wake_by_ref<T: HasBell>(shared: &Arc<T>) {
    if TAKING.take() { WOKEN.set(Some(Waker::from(shared.clone()))) } else { shared.bell().ring() }
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
        if let Some(waker) = WOKEN.take()
            && !self.needless
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[path = "hush_tests.rs"]
mod tests;
