//! The counted half of a lease, small enough to be checked exhaustively (`tests/loom` includes this very file).
//!
//! Requester: count, then look at `retired`; if it is set, give back. Controller: publish the next table, set `retired`,
//! then read the counts. All four are sequentially consistent, so either the requester sees `retired` or the controller
//! sees the count: neither can miss the other. Once drained, a later requester can only count and give back.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64};

use crossbeam_utils::CachePadded;

/// Leases of one tenure, one shard per worker. Each shard is written by its own worker only.
#[derive(Debug)]
pub struct LeaseCount {
    shards: Box<[CachePadded<Shard>]>,
    retired: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    total: AtomicU64,
    /// Informational; the drain looks at `total` alone.
    kinds: [AtomicU64; 3],
}

impl LeaseCount {
    pub fn new(shards: usize) -> Self {
        let shard =
            || Shard { total: AtomicU64::new(0), kinds: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)] };
        Self {
            shards: (0..shards.max(1)).map(|_| CachePadded::new(shard())).collect(),
            retired: AtomicBool::new(false),
        }
    }

    /// Takes a lease of kind 0; false if the tenure is retired.
    pub fn try_acquire(&self, shard: usize) -> bool {
        let shard = &self.shards[shard];
        shard.total.fetch_add(1, SeqCst);
        if self.retired.load(SeqCst) {
            shard.total.fetch_sub(1, SeqCst);
            return false;
        }
        shift(&shard.kinds[0], 1);
        true
    }

    /// Gives a lease back. It must have been taken on this shard, and be of this kind now.
    pub fn release(&self, shard: usize, kind: usize) {
        let shard = &self.shards[shard];
        shift(&shard.kinds[kind], -1);
        shard.total.fetch_sub(1, SeqCst);
    }

    /// Moves a held lease from one kind to another.
    pub fn reclassify(&self, shard: usize, from: usize, to: usize) {
        shift(&self.shards[shard].kinds[from], -1);
        shift(&self.shards[shard].kinds[to], 1);
    }

    /// No lease can be taken from here on.
    pub fn retire(&self) {
        self.retired.store(true, SeqCst);
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }

    /// Leases held. May count for an instant one that is about to be given back.
    pub fn total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.total.load(SeqCst)).sum()
    }

    /// Leases held of one kind.
    pub fn of_kind(&self, kind: usize) -> u64 {
        self.shards.iter().map(|shard| shard.kinds[kind].load(Relaxed)).sum()
    }

    /// Retired and empty. Never false again once true: a shard that was empty after `retired` was set can only see
    /// counts that are given back.
    pub fn is_drained(&self) -> bool {
        self.is_retired() && self.total() == 0
    }
}

/// Single-writer arithmetic: a shard is written by one thread, so load and store suffice.
fn shift(counter: &AtomicU64, by: i64) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(by), Relaxed);
}
