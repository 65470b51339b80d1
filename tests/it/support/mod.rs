//! What the tests stand on: fake model servers, raw clients, the proxy on port 0, waiting, and a mixed load.
//!
//! Invariants: no fixed port; nothing sleeps in the hope that something has happened meanwhile; what a test reads of
//! the wire is what was on the wire.
//! Never: knowledge of how the proxy works inside. It is reached by its sockets and its file alone.

pub(crate) mod admin;
pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod grpc;
pub(crate) mod grpc_origin;
mod grpc_wire;
pub(crate) mod load;
pub(crate) mod origin;
pub(crate) mod proxy;
mod script;
mod selftest;
pub(crate) mod tls;
pub(crate) mod tls_origin;
pub(crate) mod wait;
pub(crate) mod websocket;
pub(crate) mod wire;
