//! Where taps are opened and found: one atomic pointer to those that are open, read by each worker through a cache.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwapAny, cache::Cache};
use http::HeaderName;
use tokio::sync::mpsc;

use super::{
    copied::Copied,
    tap::{CopyBounds, Tap, TapCounts},
    wanted::Wanted,
};
use crate::ids::{PerSlot, ServiceName, Slot};

type Open = HashMap<ServiceName, PerSlot<Option<Arc<Tap>>>>;
type Pointer = Arc<ArcSwapAny<Arc<Open>, std::sync::RwLock<()>>>;

/// All taps of the process. Cloning shares them.
#[derive(Clone)]
pub struct Taps {
    pointer: Pointer,
    /// Held by whoever opens or closes one.
    writing: Arc<Mutex<()>>,
}

/// A worker's view of them.
pub struct TapReader {
    cache: Cache<Pointer, Arc<Open>>,
}

/// The end of a tap from which copies are drawn. The tap is closed when this is dropped.
#[derive(Debug)]
pub struct Outlet {
    copies: mpsc::Receiver<Copied>,
    tap: Arc<Tap>,
    service: ServiceName,
    slot: Slot,
    taps: Taps,
}

impl Default for Taps {
    fn default() -> Self {
        Self { pointer: Arc::new(ArcSwapAny::new(Arc::default())), writing: Arc::default() }
    }
}

impl Taps {
    /// Opens a tap; `None` if the slot has one already. `without` names fields of requests that are not copied.
    pub fn open(
        &self,
        (service, slot): (&ServiceName, Slot),
        wanted: Wanted,
        without: Vec<HeaderName>,
        bounds: CopyBounds,
    ) -> Option<Outlet> {
        let (outlet, copies) = mpsc::channel(bounds.waiting_max.max(1));
        let tap = Tap::new(wanted, without, bounds, outlet);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Open::clone(&self.pointer.load_full());
        let place = &mut open.entry(service.clone()).or_default()[slot];
        if place.is_some() {
            return None;
        }
        *place = Some(tap.clone());
        self.pointer.store(Arc::new(open));
        Some(Outlet { copies, tap, service: service.clone(), slot, taps: self.clone() })
    }

    fn close(&self, service: &ServiceName, slot: Slot) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Open::clone(&self.pointer.load_full());
        if let Some(slots) = open.get_mut(service) {
            slots[slot] = None;
            if slots.iter().all(|(_, tap)| tap.is_none()) {
                open.remove(service);
            }
        }
        self.pointer.store(Arc::new(open));
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.pointer.load_full().values().flat_map(PerSlot::iter).filter(|(_, tap)| tap.is_some()).count()
    }

    /// A view for one worker.
    pub fn reader(&self) -> TapReader {
        TapReader { cache: Cache::new(self.pointer.clone()) }
    }
}

impl TapReader {
    /// The slot's tap. One relaxed load while none is open anywhere.
    pub fn find(&mut self, service: &ServiceName, slot: Slot) -> Option<Arc<Tap>> {
        let open = self.cache.load();
        if open.is_empty() {
            return None;
        }
        open.get(service)?[slot].clone()
    }
}

impl Outlet {
    /// The next copy. `None` cannot be while this lives. Cancel-safe.
    pub async fn draw(&mut self) -> Option<Copied> {
        self.copies.recv().await
    }

    /// What the tap has seen so far.
    pub fn counts(&self) -> TapCounts {
        self.tap.counts()
    }

    /// A copy that waits already.
    pub fn draw_waiting(&mut self) -> Option<Copied> {
        self.copies.try_recv().ok()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.taps.close(&self.service, self.slot);
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").finish_non_exhaustive()
    }
}

impl fmt::Debug for TapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapReader").finish_non_exhaustive()
    }
}
