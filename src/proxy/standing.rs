//! What other threads see of a worker, and the clients that they give it.

use std::{
    net::{IpAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// What other threads see of a worker.
#[derive(Debug, Default)]
pub(super) struct Standing {
    connections: AtomicUsize,
    /// Raised by each of the worker's ticks.
    beats: AtomicUsize,
    beats_seen: AtomicUsize,
    hangs: AtomicBool,
}

/// A client that was accepted, and is counted as its worker's until this is dropped.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: IpAddr,
    pub(super) open: OpenConnection,
}

/// Counts a client connection until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Standing>);

impl Standing {
    /// Client connections, from the accept on.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The worker comes round.
    pub(super) fn beat(&self) {
        // No other thread writes it.
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Looks whether the worker has come round since the last look. To be called by one thread.
    pub(super) fn look(&self) {
        let beats = self.beats.load(Relaxed);
        self.hangs.store(self.beats_seen.swap(beats, Relaxed) == beats, Relaxed);
    }

    /// True if the worker had not come round at the last look.
    pub(super) fn hangs(&self) -> bool {
        self.hangs.load(Relaxed)
    }
}

impl OpenConnection {
    pub(super) fn count(standing: &Arc<Standing>) -> Self {
        standing.connections.fetch_add(1, Relaxed);
        Self(standing.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
