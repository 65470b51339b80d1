use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use super::*;

#[test]
fn a_retired_count_drains_once_and_for_all() {
    let count = LeaseCount::new(2);
    assert!(!count.is_drained(), "empty is not drained while a lease may begin");
    assert!(count.try_acquire(0) && count.try_acquire(1) && count.try_acquire(1));
    count.retire();
    assert!(!count.try_acquire(0) && !count.try_acquire(1));
    assert_eq!((count.total(), count.is_drained()), (3, false));
    count.release(1);
    count.release(0);
    assert_eq!((count.total(), count.is_drained()), (1, false));
    count.release(1);
    assert_eq!((count.total(), count.is_drained()), (0, true));
    count.retire();
    assert!(!count.try_acquire(0) && count.is_drained());
}

/// Fails when: the end of a shard's last lease is not told, so that nobody looks whether the generation is drained.
#[test]
fn who_ends_the_last_lease_of_a_retired_shard_is_told() {
    let count = LeaseCount::new(2);
    assert!(count.try_acquire(0) && count.try_acquire(0) && count.try_acquire(0) && count.try_acquire(1));
    assert!(!count.release(0), "it is open; who retires it looks for himself");
    count.retire();
    assert!(!count.release(0), "the shard has another");
    assert!(count.release_as(0, LeaseKind::Unary));
    assert!(!count.is_drained(), "the other shard has one");
    assert!(count.release(1));
    assert!(count.is_drained());
}

#[test]
fn a_late_request_does_not_make_the_verdict_flicker() {
    let count = LeaseCount::new(1);
    count.retire();
    assert!(count.is_drained());
    // What `try_acquire` has done between its two steps.
    count.shards[0].word.fetch_add(1, Relaxed);
    assert!(count.is_drained());
    assert_eq!(count.by_kind(), LeaseKinds::default());
}

#[test]
fn kinds_are_counted_and_end_with_their_lease() {
    let count = LeaseCount::new(3);
    let leases = [(0, LeaseKind::Unary), (1, LeaseKind::Stream), (1, LeaseKind::Stream), (2, LeaseKind::Tunnel)];
    for (shard, kind) in leases {
        assert!(count.try_acquire(shard));
        count.reclassify(shard, LeaseKind::Unary, kind);
    }
    assert_eq!(count.by_kind(), LeaseKinds { unary: 1, stream: 2, tunnel: 1, total: 4 });
    for (shard, kind) in leases {
        count.release_as(shard, kind);
    }
    assert_eq!(count.by_kind(), LeaseKinds::default());
    assert_eq!(count.total(), 0);
}

#[test]
fn without_workers_there_is_still_a_shard() {
    assert!(LeaseCount::new(0).try_acquire(0));
}

/// One generation in the stress test, and whether its model server is gone.
struct Served {
    leases: LeaseCount,
    deleted: AtomicBool,
    uses: AtomicUsize,
    /// Uses that saw the model server deleted. Counted, and judged at the end: a worker that panicked with a lease in
    /// hand would make the controller wait for ever.
    lost: AtomicUsize,
}

/// What the loom models show for a few steps, for many on real threads: workers use whatever generation is published,
/// and each generation is deleted as soon as it is drained.
#[test]
fn nothing_is_used_after_it_was_deleted() {
    const WORKERS: usize = 2;
    const TURNS: usize = 16;
    const SWITCHES: usize = 50_000;
    let served = || Served {
        leases: LeaseCount::new(WORKERS),
        deleted: AtomicBool::new(false),
        uses: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
    };
    let generations: Vec<Served> = (0..=SWITCHES).map(|_| served()).collect();
    let published = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (generations, published) = (&generations, &published);
            scope.spawn(move || {
                for turn in 1.. {
                    let number = published.load(Acquire);
                    let generation = &generations[number];
                    if generation.leases.try_acquire(worker) {
                        use_once(generation, worker);
                    } else {
                        assert!(published.load(Acquire) > number, "turned away before the next was published");
                    }
                    if number == SWITCHES {
                        return;
                    }
                    if turn % TURNS == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        for (number, generation) in generations.iter().take(SWITCHES).enumerate() {
            wait_until(|| generation.uses.load(SeqCst) > 0);
            published.store(number + 1, Release);
            generation.leases.retire();
            wait_until(|| generation.leases.is_drained());
            generation.deleted.store(true, SeqCst);
        }
    });
    let lost: usize = generations.iter().map(|generation| generation.lost.load(SeqCst)).sum();
    assert_eq!(lost, 0, "uses of a deleted model server");
    assert!(generations.iter().all(|generation| generation.leases.total() == 0));
}

fn use_once(generation: &Served, worker: usize) {
    let gone_before = generation.deleted.load(SeqCst);
    generation.uses.fetch_add(1, SeqCst);
    let gone_after = generation.deleted.load(SeqCst);
    generation.lost.fetch_add(usize::from(gone_before || gone_after), SeqCst);
    generation.leases.release(worker);
}

fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}
