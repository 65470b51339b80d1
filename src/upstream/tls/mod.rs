//! TLS towards endpoints: whom to trust, what to show, and why it failed.
//!
//! One [`TlsClient`] for each service; `net::tls` reads its files, whenever the config file is read.
//!
//! Invariants: sessions are resumed, over all workers; a failed handshake is told in words that an operator can act
//! upon.
//! Never: PEM, sockets of its own, which service it is for.

mod client;
mod words;

pub(super) use client::Connector;
pub use client::TlsClient;
pub(super) use words::tls_failure;
