//! Listeners, client connections, their time limits and their graceful end.
//!
//! `defer` has clients wait in the kernel until they ask. `open` makes a connection of an accepted socket: PROXY header,
//! TLS, the protocol. `serve` runs it over `downstream`, which sees every byte: heads before the HTTP library does,
//! trailers, hang-ups, what the client does not take. `hush` spares connections turns for nothing. `gather` has the
//! frames of an HTTP/2 connection leave together. `patrol` holds all of a worker's connections to their limits.
//!
//! Invariants: a switch or reload never touches a client connection; a connection is told to close only at shutdown,
//! when its own time is over, or when its framing cannot be trusted; an answer that was written is not erased by a
//! reset.
//! Never: what a request means, where it goes.

mod abort;
mod conn;
mod defer;
mod downstream;
mod epoch;
mod flat;
mod gather;
mod h1;
mod hangup;
mod head;
pub mod hush;
mod listen;
mod moment;
mod open;
mod patrol;
mod proxy_header;
mod refusal;
mod secret;
mod serve;
mod stream;
mod tcp;
pub mod tls;
mod trailers;

pub use abort::Abort;
pub use conn::ClientConn;
pub use defer::HANDSHAKE_MAX;
pub use downstream::cut_upgraded;
pub use epoch::Epoch;
pub use flat::poll_write_pieces;
pub use gather::{Gathered, Pushing};
pub use listen::{BindError, Listener, Lookout, bind};
pub use moment::moment;
pub use patrol::Patrol;
pub use refusal::Refusals;
pub use secret::{Secret, SecretError};
pub use serve::{ConnRules, serve};
