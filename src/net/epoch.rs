//! What need not be looked at again.
//!
//! A task asks at each of its polls whether it is to end, and whether its waker is still the one that would tell it. The
//! answers are in memory of its own, which with hundreds of connections has to be fetched anew each time. Whether anything
//! happened on this thread at all is one number for all of them.

use std::task::{Context, RawWakerVTable};

/// How many events there were on this thread, and the waker that was left for the next one. While both are the same, so is
/// what was found. The waker must be kept where it was left, so that no other one gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    events: u64,
    waker: (*const (), *const RawWakerVTable),
}

impl Epoch {
    /// `events` so far; the waker is the one that `cx` has.
    pub fn new(events: u64, cx: &Context<'_>) -> Self {
        Self { events, waker: (cx.waker().data(), cx.waker().vtable()) }
    }
}
