//! Checks: what a slot must pass before traffic goes to it.
//!
//! The steps of a gate, in their order: `readiness` → `contract` (what a server says of its models are `terms`) →
//! `rehearsal` (sends golden requests, by `ask`; `golden` only reads and judges them) → `warm_up` → `connections`, which
//! lets the workers connect and judges nothing. `collect` brings answers to those who record a golden file.
//!
//! Invariants: a check reports evidence for each thing it saw; it ends within the limits it is given.
//! Never: moves traffic. It says pass or fail; `control` decides.

mod ask;
mod collect;
mod connections;
mod contract;
mod gate;
pub mod golden;
mod plan;
mod progress;
mod readiness;
mod rehearsal;
mod terms;
mod warm_up;

pub use collect::collect;
pub use connections::Connect;
pub use gate::{Demand, Gate, run_gate};
pub use plan::planned;
pub use progress::Progress;
