//! Upstream: endpoints and their health, ejection, balancing, turns, leases, names, connections in clear or over TLS,
//! and their pools.
//!
//! Invariants:
//! - a lease is counted before the slot's tenure is checked, and given back when its last holder is dropped;
//! - a pool belongs to one worker and one endpoint object; nothing in it is shared with another thread;
//! - a connection goes back to its pool only after the last byte of its answer, and never after a 5xx;
//! - an endpoint that fails requests in a row is left out for a while, but never the last one that could serve;
//! - a request body is kept for another attempt only within its bounds, and is never read past what the server takes.
//!
//! Never: routes, downstream connections, who decides a switch.

mod balance;
mod body;
mod connect;
mod edits;
mod ejection;
mod endpoint;
mod expectation;
mod form;
pub mod health;
pub mod lease;
mod local;
mod names;
mod orders;
mod pool;
mod rules;
mod stamp;
mod stream;
mod tls;
mod turnstile;
mod wire;

pub use balance::Balancer;
pub use body::{BodyBounds, BodyFailed, ReplayBudget, RequestBody, SharedBody, Witness};
pub use connect::{ConnectError, Target};
pub use edits::edit;
pub use ejection::Outcome;
pub use endpoint::{Endpoint, HealthView};
pub use expectation::Expectation;
pub use form::{declare_no_body, to_http2};
pub use local::{InFlight, LocalEndpoint};
pub use names::{Resolve, Resolving, SystemResolver};
pub use orders::{Ahead, Opened, Order, Workers};
pub use pool::{Choice, Conn, Pool, PoolLimits, SendError, http1_builder, http2_builder};
pub use rules::{apply, without_prefix};
pub use stream::UpstreamStream;
pub use tls::TlsClient;
pub use turnstile::{Place, Turnstile};
pub use wire::{WireFacts, cut_upgraded};
