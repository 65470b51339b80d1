//! The time, read from the clock once for all that happens to a task in one go.
//!
//! A look at the clock costs more than most steps of a request do. The head and the last byte of a small answer come
//! in the same go of the task that serves it, microseconds apart, and may as well have come at the same time.

use std::{cell::Cell, time::Instant};

thread_local! {
    static GO: Cell<Go> = const { Cell::new(Go::None) };
}

#[derive(Clone, Copy)]
enum Go {
    /// No task is being polled that shares a reading.
    None,
    Unread,
    Read(Instant),
}

/// The time. Within one poll of a task that serves a client over HTTP/1.1, or one HTTP/2 stream, it stands still.
pub fn moment() -> Instant {
    match GO.get() {
        Go::Read(now) => now,
        Go::Unread => {
            let now = Instant::now();
            GO.set(Go::Read(now));
            now
        }
        Go::None => Instant::now(),
    }
}

/// One go of a task: `poll` sees the time stand still.
pub(super) fn in_one_go<T>(poll: impl FnOnce() -> T) -> T {
    let _end = End { before: GO.replace(Go::Unread) };
    poll()
}

/// Ends a go, even one that panics.
struct End {
    before: Go,
}

impl Drop for End {
    fn drop(&mut self) {
        GO.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: a reading outlives its go, so that time limits are counted from the past.
    #[test]
    fn time_stands_still_within_a_go_only() {
        let start = moment();
        let (first, second) = in_one_go(|| {
            let first = moment();
            while Instant::now() == first {}
            (first, moment())
        });
        assert_eq!(first, second);
        assert!(first >= start);
        assert!(in_one_go(moment) > first, "a new go, a new reading");
        let outside = moment();
        while Instant::now() == outside {}
        assert!(moment() > outside, "outside of a go time goes on");
    }
}
