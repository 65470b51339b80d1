//! The integration tests: one binary, one file for each thing that is promised.
//!
//! Every test says how to break the build so that it fails ("Fails when: …"); a test that cannot fail proves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::map_err_ignore,
    reason = "a test's support code fails by panicking, as the test itself does"
)]

mod bad_input;
mod drain;
mod grpc;
mod headers;
mod house;
mod promises;
mod readme;
mod reload;
mod restart;
mod routing;
mod shutdown;
mod streaming;
mod support;
mod switching;
mod tenures;
mod under_load;
mod upstream_faults;
mod websocket;
mod wire;
