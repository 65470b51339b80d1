//! The composition root: build, bind, spawn, shut down in order; and the commands that need every room.
//!
//! Invariants: everything that can fail is opened before anything runs; things end when they are empty.
//! Never: imported by another room. It is the only one that sees them all.

mod commands;
mod running;
mod shutdown;
mod start;

pub use commands::execute;
pub use running::{AdminAddr, Ended, Options, Running};
pub use start::start;
