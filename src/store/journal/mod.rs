//! The journal: `journal.jsonl`, one sealed entry a line, and the files it was rotated to (`journal.1.jsonl` is the
//! newest of those).
//!
//! Invariants: append-only; a line that was acknowledged is never changed or removed, except with its whole file once
//! that is the oldest. Never: what an entry means.

mod files;
mod line;
mod pages;
mod scan;
mod tail;
mod writer;

pub(super) use writer::Journal;
