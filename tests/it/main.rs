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
mod balancing;
mod body_limits;
mod cli_release;
mod client_timeouts;
mod drain;
mod edits;
mod ejection;
mod gate;
mod gate_ops;
mod gate_requests;
mod golden_record;
mod grpc;
mod h2_wire;
mod headers;
mod house;
mod preview;
mod promises;
mod proxy_protocol;
mod queue;
mod readme;
mod reload;
mod replay_soak;
mod restart;
mod retries;
mod reused;
mod rollback;
mod routing;
mod shutdown;
mod soak;
mod streaming;
mod support;
mod switching;
mod tenures;
mod tls;
mod trust;
mod under_load;
mod upstream_faults;
mod upstream_timeouts;
mod upstream_tls;
mod upstream_wire;
mod warm_up;
mod websocket;
mod wire;
