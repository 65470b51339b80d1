//! The one atomic pointer.
//!
//! `arc-swap` with its lock strategy, read through a cache per worker: a read that finds nothing new costs one relaxed
//! load and a comparison, and the strategy without the lock has an open soundness report on arm64.

use std::{collections::HashSet, fmt, sync::Arc};

use arc_swap::{ArcSwapAny, cache::Cache};

use super::{Service, SlotTable, Table};

type Pointer = Arc<ArcSwapAny<Arc<Table>, std::sync::RwLock<()>>>;

/// The writing end; `control` holds the only one.
pub struct Publisher {
    pointer: Pointer,
}

/// A reading end; each worker has its own.
pub struct Reader {
    cache: Cache<Pointer, Arc<Table>>,
}

/// A pointer to an empty table.
pub fn pointer() -> (Publisher, impl Fn() -> Reader + Clone + Send) {
    let pointer: Pointer = Arc::new(ArcSwapAny::new(Arc::new(Table::default())));
    let publisher = Publisher { pointer: pointer.clone() };
    (publisher, move || Reader { cache: Cache::new(pointer.clone()) })
}

impl Publisher {
    /// Makes the table the one that requests read from here on, then retires the tenures it no longer has open.
    ///
    /// When this returns, every request that starts later reads this table or a newer one: P1.
    pub fn publish(&mut self, table: Arc<Table>) {
        let old = self.current();
        let kept: HashSet<*const _> = open_beside(&table, &old).map(|slot| Arc::as_ptr(&slot.tenure)).collect();
        let is_left = |slot: &&Arc<SlotTable>| !kept.contains(&Arc::as_ptr(&slot.tenure));
        let left: Vec<_> = open_beside(&old, &table).filter(is_left).collect();
        self.pointer.store(table);
        for slot in left {
            slot.tenure.retire();
            // Who waits for a place there has to look for the slot that serves now.
            slot.turnstile.leave();
        }
    }

    /// The table that requests read now.
    pub fn current(&self) -> Arc<Table> {
        self.pointer.load_full()
    }
}

/// The slots of `table` where requests may start, but for services that stand in `other` at the same place: of thousands
/// a change leaves nearly all, and those are not even looked at.
fn open_beside<'t>(table: &'t Table, other: &Table) -> impl Iterator<Item = &'t Arc<SlotTable>> {
    let is_another = |(index, service): &(usize, &Arc<Service>)| {
        other.services.get(*index).is_none_or(|other| !Arc::ptr_eq(service, other))
    };
    table.services.iter().enumerate().filter(is_another).flat_map(|(_, service)| service.open())
}

impl Reader {
    /// The newest table.
    pub fn load(&mut self) -> &Arc<Table> {
        self.cache.load()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}
