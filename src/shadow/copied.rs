//! One exchange, copied as a whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};

/// A request and its answer. It counts against its tap's limit until it is dropped.
#[derive(Debug)]
pub struct Copied {
    pub method: Method,
    /// As the client wrote it: the service's own edits are not made.
    pub path: PathAndQuery,
    /// The same, but for the fields of the hop and those that the tap leaves out.
    pub headers: HeaderMap,
    pub body: BytesMut,
    pub status: u16,
    /// As the server sent them.
    pub answer_headers: HeaderMap,
    pub answer_body: BytesMut,
    pub answer_trailers: HeaderMap,
    /// The answer body's length in bytes, and when it was so long, since the request came; in order, and bounded.
    pub arrivals: Vec<(usize, Duration)>,
    /// Since the request came.
    pub took: Duration,
    pub(super) reserved: Reserved,
}

/// What a head holds in memory, about: its fields and the bytes in them.
pub(super) fn size_of_fields(fields: &HeaderMap) -> usize {
    let text: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    text + fields.len() * (size_of::<HeaderName>() + size_of::<HeaderValue>())
}

/// Bytes that all copies of a tap may hold together.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    /// Nothing of it yet.
    pub(super) fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Reserved {
    /// Takes more of it; false if there is not so much.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.budget.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Relaxed);
    }
}
