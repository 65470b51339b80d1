//! Readiness of endpoints, asked for on a new connection each time: a leaving server may answer "ready" on old ones.
//!
//! Never: what readiness leads to. It tells the endpoint object and whoever listens.

mod probe;
mod prober;

pub use probe::{ProbeResult, probe};
pub use prober::{EndpointNews, News, Prober, Rounds};
