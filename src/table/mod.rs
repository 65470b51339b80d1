//! The table: the immutable snapshot that requests read, and the ONE atomic pointer to it.
//!
//! Invariants: a table never changes once published; the pointer has one writer ([`Publisher`]) and any number of
//! readers ([`Reader`]); a tenure that a new table no longer has open is retired right after that table is visible, so
//! that a lease can be refused only when the next table can already be read.
//! Never: who decided, requests, connections.

mod pointer;
mod preview;
mod route;
mod snapshot;

pub use pointer::{Publisher, Reader, pointer};
pub use preview::Preview;
pub use route::{RequestView, Routes};
pub use snapshot::{Service, SlotTable, Table};
