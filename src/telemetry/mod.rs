//! Telemetry: the names of metrics and failures, the counters, the tracing set-up, the access log.
//!
//! Invariants: every metric name is a constant in `names`; a worker writes only its own shard, so that counting costs
//! no lock and shares no cache line; sums are made at scrape time.
//! Never: who is measured, and what for. It knows services and slots only as labels.

mod access;
mod failure;
pub mod names;
mod registry;
mod setup;
mod slots;

pub use access::{AccessLog, AccessRecord, AccessSink};
pub use failure::{Blame, FailureKind};
pub use registry::{GaugeSample, Registry};
pub use setup::{SetupError, init_tracing};
pub use slots::{SlotLabels, SlotMetrics};
