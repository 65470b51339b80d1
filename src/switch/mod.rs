//! THE SWITCH: what one service's slots are to it, as a pure state machine. Event in, effects out.
//!
//! Invariants, checked after each step by the property tests:
//! - exactly one slot is active, and it is never an empty one;
//! - the generation rises by one with every change that is published, and with nothing else;
//! - traffic moves only after the journal holds the change, and that only after its gate passed or was overruled by force;
//! - a refused request leaves everything as it was;
//! - every request gets exactly one answer;
//! - who is cancelled or superseded had not come to the journal, and its gate is stopped.
//!
//! Never: async, clocks, I/O, hyper, arc-swap. It names effects; `control` carries them out.
#![deny(clippy::wildcard_enum_match_arm)]

mod machine;
#[cfg(test)]
mod properties;

pub use machine::{Answer, Ask, Change, Effect, Event, Machine, OpId, Pending, Refusal, Stage};
