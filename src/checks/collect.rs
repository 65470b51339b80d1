//! Answers for a recording: requests sent to a slot's endpoints as a gate sends them.

use std::{sync::Arc, time::Duration};

use super::{
    ask::{Bounds, address, ask},
    golden::{Answer, Request},
};
use crate::{
    config::settings::ServiceSettings,
    upstream::{Endpoint, Target},
};

/// Sends a request to one of the endpoints: the `turn`-th of those that can take it, which spreads many of them. Ends within
/// `timeout`; an answer whose head came is one, however it ends. Dropping the future gives it up.
///
/// # Errors
/// Why there is no answer.
pub async fn collect(
    endpoints: &[Arc<Endpoint>],
    turn: usize,
    request: &Request,
    settings: &ServiceSettings,
    timeout: Duration,
    answer_bytes_max: u64,
) -> Result<Answer, String> {
    let targets: Vec<&Target> = endpoints.iter().filter_map(|endpoint| address(endpoint, request).ok()).collect();
    let Some(target) = targets.get(turn % targets.len().max(1)) else {
        let protocol = if request.is_grpc() { "gRPC" } else { "HTTP" };
        return Err(format!("no endpoint of the slot has an address that speaks {protocol}"));
    };
    ask(target, request, settings, Bounds { timeout, answer_bytes_max }).await.map_err(|none| none.reason)
}
