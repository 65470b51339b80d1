//! THE DATA PLANE: a request from its head to the last byte of its answer.
//!
//! handler → route → assign → forward → body, one direction; `exchange` is what a request carries along and what writes
//! its record at the end, whatever happened.
//!
//! Invariants: the table is read once per attempt to get a lease and never held across a wait; an answer is written
//! only by its own request; what was sent upstream is sent again only where `replay` permits.
//! Never: control, admin, store, fleet. Decisions come down through the table, facts go up through telemetry and leases.

mod accept;
mod answer;
mod arrival;
mod assign;
mod body;
mod deadline;
mod exchange;
mod forward;
mod forwards;
mod handler;
mod headers;
mod http2;
mod incoming;
mod interim;
mod interrupt;
mod outcome;
mod outgoing;
mod replay;
mod request_id;
mod retry;
mod rewrite;
mod route;
mod tunnel;
mod turn;
mod view;
mod worker;

pub use accept::Acceptor;
pub use replay::INFERENCE_ENDINGS;
pub use worker::{Command, WorkerHandle, WorkerOptions, spawn_worker};
