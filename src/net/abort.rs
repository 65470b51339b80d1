//! Ends a connection or an HTTP/2 stream from outside.
//!
//! hyper asks a body for more only when the client has taken what came before. A client that does not read would keep a
//! request that was cut; so the task that serves it (the connection on HTTP/1.1, the stream on HTTP/2) can be ended as
//! a whole. A request finds the handle of the task that it runs in by [`Abort::current`].

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{epoch::Epoch, moment::in_one_go};

/// A handle to end a serving task.
#[derive(Debug, Default)]
pub struct Abort {
    wanted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

thread_local! {
    static CURRENT: Cell<Option<Rc<Abort>>> = const { Cell::new(None) };
    /// How often a handle was used on this thread.
    static FIRED: Cell<u64> = const { Cell::new(0) };
}

impl Abort {
    /// The handle of the task that is being polled on this thread.
    pub fn current() -> Option<Rc<Abort>> {
        CURRENT.with(|current| {
            let abort = current.take();
            current.set(abort.clone());
            abort
        })
    }

    /// Ends the task: what it has open is dropped, which closes the connection or resets the stream.
    pub fn fire(&self) {
        self.wanted.set(true);
        FIRED.set(FIRED.get() + 1);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn note(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// A future that can be ended by its [`Abort`]. Ready with `None` then.
pub(super) struct Abortable<F> {
    future: Option<Pin<Box<F>>>,
    /// In `CURRENT` while the future is polled.
    abort: Option<Rc<Abort>>,
    looked: Option<Epoch>,
}

impl<F: Future> Abortable<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(Box::pin(future)), abort: Some(Rc::default()), looked: None }
    }

    /// Ends the future if that is wanted, and has the handle wake this task.
    fn look(&mut self, cx: &Context<'_>) {
        let now = Epoch::new(FIRED.get(), cx);
        if self.looked == Some(now) {
            return;
        }
        let Some(abort) = &self.abort else { return };
        if abort.wanted.get() {
            self.future = None;
        }
        abort.note(cx);
        self.looked = Some(now);
    }
}

impl<F: Future> Future for Abortable<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = &mut *self;
        this.look(cx);
        let Some(future) = &mut this.future else {
            return Poll::Ready(None);
        };
        let before = CURRENT.replace(this.abort.take());
        let polled = in_one_go(|| future.as_mut().poll(cx));
        this.abort = CURRENT.replace(before);
        polled.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_ended_from_inside_its_own_requests() {
        let found = Rc::new(RefCell::new(None));
        let seen = found.clone();
        let mut task = Box::pin(Abortable::new(async move {
            *seen.borrow_mut() = Abort::current();
            std::future::pending::<()>().await;
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert!(Abort::current().is_none(), "outside of a task there is none");
        found.borrow().as_ref().unwrap().fire();
        assert_eq!(task.as_mut().poll(&mut cx), Poll::Ready(None));
        assert_eq!(Rc::strong_count(&found), 1, "what the task held is dropped");
    }
}
