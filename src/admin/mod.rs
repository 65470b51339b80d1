//! Admin: the HTTP API, events, probes, the metrics page and the dashboard.
//!
//! Life of a call: `serve` accepts → `admission` looks at host, origin and token → `router` finds the handler
//! (`services`, `changes`, `drains`, `events`, `recordings`, `probes`, `page`) → the handler asks the control handle → `answer`.
//!
//! Invariants: every refusal under `/v1` has an [`api::Problem`](crate::api::Problem) as its body; a token is compared
//! in constant time and never printed; an order that was accepted stands, even if its caller hangs up.
//! Never: decisions, and the data plane. It knows `control` only by its handle.

mod actor;
mod admission;
mod answer;
mod body;
mod changes;
mod drains;
mod events;
mod frames;
mod generation;
mod listen;
mod openapi;
mod page;
mod path;
mod probes;
mod recordings;
mod router;
mod secure;
mod serve;
mod services;
mod shared;
mod slot_gate;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use actor::ACTOR_HEADER;
#[cfg(test)]
pub(crate) use frames::Frames;
pub use listen::{BindError, Listener, bind};
pub use openapi::document;
pub use serve::serve;
pub use shared::{MetricsPage, State};
