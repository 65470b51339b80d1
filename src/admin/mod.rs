//! Admin: the HTTP API, events, probes, the metrics page and the dashboard.
//!
//! Invariants: loopback only unless a token is set; every refusal is an `api::Problem` with its own status; a call from
//! a foreign page or under a foreign host name is refused; secrets are never written anywhere.
//! Never: how a change is made. It sees control only by its handle.

mod calls;
mod events;
mod guard;
mod listen;
mod openapi;
mod page;
mod probes;
mod reply;
mod secret;
mod serve;

pub use listen::{BindError, BoundAddr, Listener, bind};
pub use openapi::document;
pub use secret::{Secret, SecretError};
pub use serve::{State, serve};
