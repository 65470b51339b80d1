//! State on disk (atomic, checksummed) and the journal.
//!
//! Invariants: one process owns a state directory; there is a whole state file on disk at every instant after the
//! first save; an appended entry is on disk before `append` returns, and a refused one leaves no trace; what cannot be
//! read is set aside and said aloud, never guessed. Everything here blocks: call it on a thread that may wait.
//!
//! The order of a change, which the caller keeps, is *journal, publish, save*. A crash between the first and the last
//! leaves the journal ahead, and [`Store::open`] catches up from it ([`replay`]). The journal tells which slot serves and
//! what stands in each, so a change may be answered before the state is saved, which takes as long as there are services.
//! It does not tell what the config file said last (`file`, `file_active`): that has to be saved before it is relied on.
//!
//! Never: clocks, async, what a switch means.

mod dir;
mod disk;
mod error;
mod journal;
mod replay;
mod seal;
mod state;
mod state_file;

pub use dir::{Recovered, Store};
pub use error::StoreError;
pub use replay::{Replayed, replay};
pub use state::{STATE_VERSION, ServiceRecord, SlotDef, SlotRecord, State};

#[cfg(test)]
mod samples;
