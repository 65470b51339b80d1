use loom::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Release},
    },
    thread,
};

use crate::{
    count::LeaseCount,
    world::{Leases, World},
};

/// A request against a switch: it is served by the old or the new generation, and never by a deleted one.
fn request_against_switch<L: Leases>() {
    loom::model(|| {
        let world = World::<L>::new(2, 1);
        let requester = {
            let world = world.clone();
            thread::spawn(move || world.request(0))
        };
        world.switch(0);
        // P1: a request that starts after the switch is served by the new generation.
        assert_eq!(world.request(0), 1);
        requester.join().unwrap();
        assert!(world.leases(0).is_drained());
    });
}

/// Requesters that read the table before the switch, one on each of the given shards, against that switch.
fn attempts_against_switch(shards: [usize; 2]) {
    loom::model(move || {
        let world = World::<LeaseCount>::new(2, shards[1] + 1);
        let requesters = shards.map(|shard| {
            let world = world.clone();
            thread::spawn(move || world.attempt(0, shard))
        });
        world.switch(0);
        for requester in requesters {
            requester.join().unwrap();
        }
        assert!(world.leases(0).is_drained());
        assert_eq!(world.leases(0).total(), 0);
    });
}

#[test]
fn one_requester() {
    request_against_switch::<LeaseCount>();
}

#[test]
fn two_requesters_on_two_shards() {
    attempts_against_switch([0, 1]);
}

#[test]
fn two_requesters_on_one_shard() {
    attempts_against_switch([0, 0]);
}

/// The barest race: a lease is granted before the retirement or not at all, and the number comes out even.
#[test]
fn acquire_against_retire() {
    loom::model(|| {
        let world = World::<LeaseCount>::new(1, 1);
        let requester = {
            let world = world.clone();
            thread::spawn(move || world.leases(0).try_acquire(0))
        };
        world.leases(0).retire();
        let drained = world.leases(0).is_drained();
        let granted = requester.join().unwrap();
        assert!(!(drained && granted), "drained, yet a lease was granted");
        assert_eq!(world.leases(0).is_drained(), !granted);
        assert_eq!(world.leases(0).total(), u64::from(granted));
        assert!(!world.leases(0).try_acquire(0));
    });
}

/// Blue, green, blue again: each generation has a count and a server of its own.
#[test]
fn two_switches_in_a_row() {
    loom::model(|| {
        let world = World::<LeaseCount>::new(3, 1);
        let requester = {
            let world = world.clone();
            thread::spawn(move || world.request(0))
        };
        world.switch(0);
        world.switch(1);
        requester.join().unwrap();
    });
}

/// A second observer: if it saw the count drained, it still does, whatever late request comes along.
#[test]
fn the_verdict_does_not_flicker() {
    loom::model(|| {
        let world = World::<LeaseCount>::new(2, 1);
        let requester = {
            let world = world.clone();
            thread::spawn(move || world.attempt(0, 0))
        };
        let observer = {
            let world = world.clone();
            thread::spawn(move || {
                let first = world.leases(0).is_drained();
                assert!(!first || world.leases(0).is_drained(), "drained is for good");
            })
        };
        world.switch(0);
        requester.join().unwrap();
        observer.join().unwrap();
    });
}

/// Asks first and counts after: what must not be done.
struct AsksFirst {
    number: AtomicUsize,
    retired: AtomicBool,
}

impl Leases for AsksFirst {
    fn new(_: usize) -> Self {
        Self { number: AtomicUsize::new(0), retired: AtomicBool::new(false) }
    }

    fn try_acquire(&self, _: usize) -> bool {
        let open = !self.retired.load(Acquire);
        if open {
            self.number.fetch_add(1, AcqRel);
        }
        open
    }

    fn release(&self, _: usize) {
        self.number.fetch_sub(1, AcqRel);
    }

    fn retire(&self) {
        self.retired.store(true, Release);
    }

    fn is_drained(&self) -> bool {
        // Read-modify-writes always see the newest value, so that nothing but the order of the two steps is at fault.
        self.retired.load(Acquire) && self.number.fetch_add(0, AcqRel) == 0
    }
}

#[test]
#[should_panic(expected = "Causality violation")]
fn to_ask_first_and_count_after_fails() {
    request_against_switch::<AsksFirst>();
}
