//! What the models are made of: generations with a model server each, and the pointer to the published one.

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
    thread,
};

use crate::count::LeaseCount;

/// The lease operations that a model needs, so that a wrong order of them can be tried too.
pub(crate) trait Leases: Send + Sync + 'static {
    fn new(shards: usize) -> Self;
    fn try_acquire(&self, shard: usize) -> bool;
    fn release(&self, shard: usize);
    fn retire(&self);
    fn is_drained(&self) -> bool;
}

impl Leases for LeaseCount {
    fn new(shards: usize) -> Self {
        LeaseCount::new(shards)
    }

    fn try_acquire(&self, shard: usize) -> bool {
        LeaseCount::try_acquire(self, shard)
    }

    fn release(&self, shard: usize) {
        LeaseCount::release(self, shard);
    }

    fn retire(&self) {
        LeaseCount::retire(self);
    }

    fn is_drained(&self) -> bool {
        LeaseCount::is_drained(self)
    }
}

/// One generation. Loom fails if `server` is written (deleted) while it is read (used), or if one of the two cannot
/// be told to be before the other.
struct Generation<L> {
    leases: L,
    server: UnsafeCell<()>,
}

/// All generations, and the number of the published one.
pub(crate) struct World<L> {
    generations: Vec<Generation<L>>,
    published: AtomicUsize,
}

impl<L: Leases> World<L> {
    pub(crate) fn new(generations: usize, shards: usize) -> Arc<Self> {
        let generation = |_| Generation { leases: L::new(shards), server: UnsafeCell::new(()) };
        Arc::new(Self { generations: (0..generations).map(generation).collect(), published: AtomicUsize::new(0) })
    }

    /// The leases of a generation.
    pub(crate) fn leases(&self, number: usize) -> &L {
        &self.generations[number].leases
    }

    /// A request: reads the published generation and makes an attempt on it. Turned away, it reads again, and must
    /// find a newer one. Returns the generation that served.
    pub(crate) fn request(&self, shard: usize) -> usize {
        let mut oldest = 0;
        loop {
            let number = self.published.load(Acquire);
            assert!(number >= oldest, "turned away from the published generation");
            if self.attempt(number, shard) {
                return number;
            }
            oldest = number + 1;
        }
    }

    /// A request that has read `number` from the table: takes a lease, uses the server, ends the lease. False if it was
    /// turned away.
    pub(crate) fn attempt(&self, number: usize, shard: usize) -> bool {
        let Generation { leases, server } = &self.generations[number];
        let granted = leases.try_acquire(shard);
        if granted {
            server.with(|_| ());
            leases.release(shard);
        }
        granted
    }

    /// The controller: publish the next, retire this one, wait for zero, delete.
    pub(crate) fn switch(&self, from: usize) {
        let Generation { leases, server } = &self.generations[from];
        self.published.store(from + 1, Release);
        leases.retire();
        while !leases.is_drained() {
            thread::yield_now();
        }
        server.with_mut(|_| ());
    }
}
