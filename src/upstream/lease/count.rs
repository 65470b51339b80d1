//! How many leases a slot generation has, and whether there can ever be another.
//!
//! A request **counts first and then asks** whether the generation is still open; the controller publishes the next
//! generation, then **closes this one and only then waits** for zero. If a request asked first and counted after, the
//! controller could see zero in between, and the request would go to a model server that is deleted by now.
//!
//! Per shard, the count and the answer are *one* atomic word: the number of leases, and a top bit that says "retired".
//! All threads agree on the order of changes of one atomic, and in that order
//! - every lease that was granted had counted itself *before* the bit was set, for it saw the bit unset;
//! - so once the bit is set and the number is zero, all of them have ended, and none can follow;
//! - a late request still adds one and takes it back, but it saw the bit: it holds no lease and uses nothing.
//!
//! This holds for each shard by itself, so the shards may be looked at one after another. What a late request adds for
//! a moment may change the number, never the truth; the verdict is remembered, so that it cannot flicker either.
//!
//! To take or to end a lease is one atomic instruction on a cache line of the worker's own. `tests/loom` checks the
//! above over all interleavings of small cases, and that asking first fails there. One word, and not a number and a
//! flag with sequentially consistent access, because that is faster here and the other cannot be checked there.

#[cfg(not(loom))]
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(not(loom))]
use crossbeam_utils::CachePadded;
#[cfg(loom)]
use loom::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(loom)]
type CachePadded<T> = Box<T>;

/// What a lease is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// A request with an ordinary answer. Every lease begins as one.
    Unary,
    /// An answer that is open-ended: server-sent events, a gRPC stream.
    Stream,
    /// An upgraded connection.
    Tunnel,
}

/// Leases by kind, for people to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseKinds {
    pub unary: u64,
    pub stream: u64,
    pub tunnel: u64,
    pub total: u64,
}

/// The leases of one generation of one slot. Once retired it stays so; a slot that serves again gets a new count.
#[derive(Debug)]
pub struct LeaseCount {
    shards: Box<[CachePadded<Shard>]>,
    /// Set for good by the first look that found every shard retired and empty.
    drained: AtomicBool,
}

/// What one worker counts.
#[derive(Debug)]
struct Shard {
    /// Number of leases, plus [`RETIRED`].
    word: AtomicU64,
    /// Informational, as the next.
    streams: AtomicU64,
    tunnels: AtomicU64,
}

/// The bit of a shard's word that says that no lease begins any more.
const RETIRED: u64 = 1 << 63;

impl LeaseCount {
    /// A count with one shard for each worker, at least one.
    pub fn new(shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| CachePadded::new(Shard::new())).collect();
        Self { shards, drained: AtomicBool::new(false) }
    }

    /// Takes a lease on the worker's own shard, of kind unary. False if the generation is retired: then a newer one is
    /// published already, and the caller reads the table again.
    ///
    /// Panics if there is no such shard, as all that take one.
    #[must_use = "a lease that was taken must be released"]
    pub fn try_acquire(&self, shard: usize) -> bool {
        let word = &self.shards[shard].word;
        // Acquire: who sees the retirement also sees the table that was published before it.
        let open = word.fetch_add(1, Acquire) & RETIRED == 0;
        if !open {
            word.fetch_sub(1, Relaxed);
        }
        open
    }

    /// Ends a unary lease, on the shard it was taken on. The last thing its holder does with the slot. False if the
    /// generation cannot be drained yet, for its shard has others or is not retired; who retires it looks for himself.
    /// So nobody need look at the other workers' cache lines after each request.
    pub fn release(&self, shard: usize) -> bool {
        // Release: who sees the lease ended also sees all that was done under it.
        let before = self.shards[shard].word.fetch_sub(1, Release);
        debug_assert_ne!(before & !RETIRED, 0, "a lease ends once");
        before == RETIRED | 1
    }

    /// Ends a lease of any kind, on the shard it was taken on; see [`release`](Self::release).
    pub fn release_as(&self, shard: usize, kind: LeaseKind) -> bool {
        self.reclassify(shard, kind, LeaseKind::Unary);
        self.release(shard)
    }

    /// Changes the kind of a lease, on the shard it was taken on.
    pub fn reclassify(&self, shard: usize, from: LeaseKind, to: LeaseKind) {
        let shard = &self.shards[shard];
        if let Some(number) = shard.of(to) {
            number.fetch_add(1, Relaxed);
        }
        if let Some(number) = shard.of(from) {
            number.fetch_sub(1, Relaxed);
        }
    }

    /// Closes the generation: when this returns, no lease begins on any shard. To be called after the next generation
    /// has been published, or requests would find no open one.
    pub fn retire(&self) {
        for shard in &self.shards {
            // Release: who is turned away sees what was published before.
            shard.word.fetch_or(RETIRED, Release);
        }
    }

    /// True once [`retire`](Self::retire) has closed every shard; the last one is closed last.
    pub fn is_retired(&self) -> bool {
        self.shards.last().is_some_and(|shard| shard.word.load(Acquire) & RETIRED != 0)
    }

    /// Leases held now. Each shard is looked at once, one after another. On a retired generation, late requests that
    /// are being turned away may be among them for an instant.
    pub fn total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.word.load(Acquire) & !RETIRED).sum()
    }

    /// True if the generation is retired, all its leases have ended and none can begin. Never becomes false again;
    /// all that was done under the leases has been done, and is visible to the caller.
    pub fn is_drained(&self) -> bool {
        if self.drained.load(Acquire) {
            return true;
        }
        let drained = self.shards.iter().all(|shard| shard.word.load(Acquire) == RETIRED);
        if drained {
            self.drained.store(true, Release);
        }
        drained
    }

    /// Leases by kind; all zero once drained. The numbers are read one after another and may be off by what happens
    /// meanwhile; only [`is_drained`](Self::is_drained) is a verdict.
    pub fn by_kind(&self) -> LeaseKinds {
        if self.is_drained() {
            return LeaseKinds::default();
        }
        let sum = |number: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|shard| number(shard).load(Relaxed)).sum();
        let (stream, tunnel): (u64, u64) = (sum(|shard| &shard.streams), sum(|shard| &shard.tunnels));
        let total = self.total().max(stream + tunnel);
        LeaseKinds { unary: total - stream - tunnel, stream, tunnel, total }
    }
}

impl Shard {
    fn new() -> Self {
        Self { word: AtomicU64::new(0), streams: AtomicU64::new(0), tunnels: AtomicU64::new(0) }
    }

    /// The number of leases of a kind; unary ones are the rest.
    fn of(&self, kind: LeaseKind) -> Option<&AtomicU64> {
        match kind {
            LeaseKind::Unary => None,
            LeaseKind::Stream => Some(&self.streams),
            LeaseKind::Tunnel => Some(&self.tunnels),
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "count_tests.rs"]
mod tests;
