//! Checks: what a slot must pass before traffic goes to it. Today that is readiness, of each endpoint.
//!
//! `golden` reads and judges golden requests; sending them is not its part.
//!
//! Invariants: a check reports evidence for each thing it saw; it ends within the limits it is given.
//! Never: moves traffic. It says pass or fail; `control` decides.

pub mod golden;
mod readiness;

pub use readiness::{Demand, Gate, run_gate};
