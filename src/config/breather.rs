//! Heavy work in short stretches.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long is worked on end. A scheduler lets a thread that computes keep its core for some milliseconds, and who serves
/// a request on the same core would wait that long.
const STRETCH: Duration = Duration::from_micros(250);
/// Long enough to leave the core. The kernel makes at least 50 microseconds of it.
const REST: Duration = Duration::from_micros(20);

/// Lets others have the core now and then. For work on thousands of services, which takes tens of milliseconds; it takes a
/// third longer then. Of what requests near such work wait longer than others, a low priority takes about a third, and so
/// do rests; both together three quarters.
#[derive(Debug)]
pub struct Breather {
    rested: Instant,
}

impl Breather {
    /// The work begins.
    pub fn begin() -> Self {
        Self { rested: Instant::now() }
    }

    /// A step of it is done. Puts the thread to sleep for a moment, if it has worked long enough.
    pub fn step(&mut self) {
        if self.rested.elapsed() >= STRETCH {
            thread::sleep(REST);
            self.rested = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: work goes on and on, or rests at each step.
    #[test]
    fn it_rests_after_a_stretch_and_not_before() {
        let mut breather = Breather::begin();
        let begun = Instant::now() - STRETCH;
        breather.rested = begun;
        breather.step();
        assert!(breather.rested >= begun + STRETCH + REST);
        let later = Instant::now() + Duration::from_secs(60);
        breather.rested = later;
        breather.step();
        assert_eq!(breather.rested, later);
    }
}
