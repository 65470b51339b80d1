//! How many requests a slot's servers are given at once, over all workers, and who waits for a turn.
//!
//! First come, first served: a place that becomes free goes to whoever waits longest. A slot without a limit costs a
//! request one load.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{
        AtomicBool, AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of a slot.
#[derive(Debug)]
pub struct Turnstile {
    limited: AtomicBool,
    places: Arc<Semaphore>,
    size: Mutex<u32>,
    /// Places that a smaller limit has abolished while they were taken.
    owed: AtomicU32,
    waiting: AtomicU32,
    left: Notify,
}

/// A place, taken until it is dropped.
#[derive(Debug)]
pub struct Place {
    permit: Option<OwnedSemaphorePermit>,
    turnstile: Arc<Turnstile>,
}

/// A place in the queue, given up when it is dropped.
#[derive(Debug)]
pub struct Queued(Arc<Turnstile>);

impl Turnstile {
    /// So many places; `None`: no limit.
    pub fn new(concurrency: Option<u32>) -> Arc<Self> {
        let size = concurrency.unwrap_or(0);
        Arc::new(Self {
            limited: AtomicBool::new(concurrency.is_some()),
            places: Arc::new(Semaphore::new(size as usize)),
            size: Mutex::new(size),
            owed: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            left: Notify::new(),
        })
    }

    /// A new limit. Who is inside stays inside; requests that began while there was no limit are not counted.
    pub fn resize(&self, concurrency: Option<u32>) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = concurrency.unwrap_or(0);
        self.limited.store(concurrency.is_some(), Relaxed);
        if wanted >= *size {
            let more = wanted - *size;
            let forgive = |owed: u32| Some(owed.saturating_sub(more));
            let forgiven = self.owed.fetch_update(AcqRel, Acquire, forgive).map_or(0, |owed| owed.min(more));
            self.places.add_permits((more - forgiven) as usize);
        } else {
            let excess = (*size - wanted) as usize;
            let taken = excess - self.places.forget_permits(excess);
            self.owed.fetch_add(u32::try_from(taken).unwrap_or(u32::MAX), AcqRel);
        }
        *size = wanted;
        // Without a limit nobody has to wait; those who do look again.
        self.left.notify_waiters();
    }

    pub fn is_limited(&self) -> bool {
        self.limited.load(Relaxed)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// A place, if one is free and nobody waits for it.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { permit: Some(permit), turnstile: self.clone() })
    }

    /// A place in the queue, if fewer than `queue_max` wait.
    pub fn queue(self: &Arc<Self>, queue_max: u32) -> Option<Queued> {
        let room = |waiting: u32| (waiting < queue_max).then_some(waiting + 1);
        self.waiting.fetch_update(AcqRel, Acquire, room).ok()?;
        Some(Queued(self.clone()))
    }

    /// The slot has been left: those who wait look for another one.
    pub fn leave(&self) {
        self.left.notify_waiters();
    }
}

impl Queued {
    /// Waits for a place. `None`: `is_over` says that the wait makes no sense any more, or the limit is gone.
    /// Cancel-safe: dropping the future gives the turn to the next.
    pub async fn turn(&self, is_over: impl Fn() -> bool) -> Option<Place> {
        let turnstile = &self.0;
        let mut turn = std::pin::pin!(turnstile.places.clone().acquire_owned());
        loop {
            let left = turnstile.left.notified();
            tokio::pin!(left);
            // Enabled before the look, so that what changes in between is not missed.
            left.as_mut().enable();
            if is_over() || !turnstile.is_limited() {
                return None;
            }
            tokio::select! {
                // The semaphore is never closed, so an error cannot be; it would end the wait.
                permit = &mut turn => return permit.ok().map(|permit| Place { permit: Some(permit), turnstile: turnstile.clone() }),
                () = left => {}
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pay = |owed: u32| owed.checked_sub(1);
        if self.turnstile.owed.fetch_update(AcqRel, Acquire, pay).is_ok()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_queue_are_bounded() {
        let turnstile = Turnstile::new(Some(2));
        let (one, two) = (turnstile.enter().unwrap(), turnstile.enter().unwrap());
        assert!(turnstile.enter().is_none());
        let queued = turnstile.queue(1).unwrap();
        assert!(turnstile.queue(1).is_none(), "one may wait, not two");
        drop(queued);
        assert_eq!(turnstile.waiting(), 0);
        drop(one);
        assert!(turnstile.enter().is_some());
        drop(two);
    }

    #[tokio::test]
    async fn turns_come_in_order() {
        let turnstile = Turnstile::new(Some(1));
        let place = turnstile.enter().unwrap();
        let (first, second) = (turnstile.queue(9).unwrap(), turnstile.queue(9).unwrap());
        let mut first = Box::pin(first.turn(|| false));
        let mut second = Box::pin(second.turn(|| false));
        assert!(futures_pending(&mut first) && futures_pending(&mut second));
        drop(place);
        assert!(futures_pending(&mut second), "the other one came first");
        assert!(turnstile.enter().is_none(), "nobody passes those who wait");
        let place = first.await.unwrap();
        drop(place);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn a_smaller_limit_holds_once_those_inside_have_left() {
        let turnstile = Turnstile::new(Some(3));
        let inside: Vec<_> = (0..3).filter_map(|_| turnstile.enter()).collect();
        turnstile.resize(Some(1));
        turnstile.resize(Some(2));
        turnstile.resize(Some(1));
        assert!(turnstile.enter().is_none());
        drop(inside);
        let one = turnstile.enter();
        assert!(one.is_some() && turnstile.enter().is_none());
        turnstile.resize(Some(2));
        assert!(turnstile.enter().is_some());
    }

    #[tokio::test]
    async fn those_who_wait_are_told_when_the_slot_is_left_or_the_limit_goes() {
        let turnstile = Turnstile::new(Some(1));
        let _place = turnstile.enter().unwrap();
        let over = std::cell::Cell::new(false);
        let queued = turnstile.queue(9).unwrap();
        let mut turn = Box::pin(queued.turn(|| over.get()));
        assert!(futures_pending(&mut turn));
        over.set(true);
        turnstile.leave();
        assert!(turn.await.is_none());
        let mut turn = Box::pin(queued.turn(|| false));
        assert!(futures_pending(&mut turn));
        turnstile.resize(None);
        assert!(turn.await.is_none());
    }

    fn futures_pending<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut cx).is_pending()
    }
}
