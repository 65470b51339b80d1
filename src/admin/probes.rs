//! Liveness, readiness and the metrics page.

use axum::{
    extract::State as Extracted,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::serve::Shared;

/// The process is there.
#[utoipa::path(get, path = "/live", tag = "probes", responses((status = 200, description = "The process runs.")))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Clients may be sent here.
#[utoipa::path(get, path = "/ready", tag = "probes", responses(
    (status = 200, description = "Serving."),
    (status = 503, description = "Shutting down: send clients elsewhere."),
))]
pub(super) async fn ready(Extracted(shared): Extracted<Shared>) -> Response {
    match shared.handle.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

/// Prometheus text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "probes", responses((status = 200, description = "Prometheus text format 0.0.4.")))]
pub(super) async fn metrics(Extracted(shared): Extracted<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.metrics)()).into_response()
}
