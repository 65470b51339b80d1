//! The demo: two small, real model servers and a steady load, so that a switch can be seen with nothing installed.
//!
//! `app` starts [`Servers`], writes [`config_text`] to a file, runs a proxy from it and calls [`run`]. From then on the
//! demo is a stranger to the proxy: it knows two addresses and speaks HTTP to them, as any client would.
//!
//! Invariants: every request is sent once, checked and booked; what is not provably right is a fault, and one fault
//! fails the run. All text goes to the writer it is given. Never: a door into the proxy that a client does not have.

mod admin;
mod check;
mod classifier;
mod client;
mod iris;
mod latency;
mod ledger;
mod load;
mod protocol;
mod report;
mod routes;
mod script;
mod server;
mod servers;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod watch;

pub use classifier::Version;
pub use server::Server;
pub use servers::{Servers, config_text};
pub use session::{Options, Verdict, run};

/// The demo's own tests play it this many times as fast.
const HASTE: u64 = if cfg!(test) { 10 } else { 1 };
