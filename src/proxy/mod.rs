//! THE DATA PLANE: a request from its head to the last byte of its answer.
//!
//! handler → route → assign → turn → forward → body, one direction; `exchange` is what a request carries along and what
//! writes its record at the end, whatever happened. `forward` makes attempts: `outgoing` is the request of one, `retry`
//! and `outcome` judge how it went, `preview` says who may choose a slot, `incoming` is the answer that is passed on. `headers` and `rewrite` change heads,
//! `interim` passes answers of class 1xx on, `ahead` connects before a switch, `accept` and `worker` are where clients come in.
//!
//! Invariants: the table is read once per attempt to get a lease and never held across a wait; an answer is written
//! only by its own request; what was sent upstream is sent again only where `replay` permits, and to another endpoint only within the
//! retries' budget; a wait for a turn or for a server ends with the lease and with the client.
//! Never: control, admin, store, fleet. Decisions come down through the table, facts go up through telemetry and leases.

mod accept;
mod ahead;
mod answer;
mod arrival;
mod assign;
#[doc(hidden)]
pub mod bench;
mod body;
mod copying;
mod deadline;
mod exchange;
mod forward;
mod forwards;
mod handler;
mod headers;
mod http2;
mod incoming;
mod intake;
mod interim;
mod interrupt;
mod outcome;
mod outgoing;
mod preview;
mod replay;
mod request_id;
mod retry;
mod rewrite;
mod route;
mod standing;
mod tunnel;
mod turn;
mod view;
mod worker;

pub use accept::Acceptor;
pub use replay::INFERENCE_ENDINGS;
pub use worker::{Command, WorkerHandle, WorkerOptions, spawn_worker};
