//! Liveness, readiness and metrics: plain text for machines.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use super::shared::Shared;

/// The process answers; that is all it says.
#[utoipa::path(get, path = "/live", tag = "probe", responses((status = 200, description = "Alive.", body = String)))]
pub(super) async fn live() -> impl IntoResponse {
    (FRESH, "live\n")
}

/// Whether traffic should be sent to this process.
#[utoipa::path(
    get, path = "/ready", tag = "probe",
    responses(
        (status = 200, description = "Ready.", body = String),
        (status = 503, description = "Not ready; the body says why.", body = String),
    ),
)]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.handle.readiness() {
        Ok(()) => (StatusCode::OK, FRESH, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, FRESH, format!("not ready: {why}\n")),
    }
}

/// All metrics in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "probe",
    responses((status = 200, description = "Prometheus' text format 0.0.4.", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let page = shared.metrics.clone();
    // Of thousands of services the page takes a while, which nobody else is to wait for.
    match tokio::task::spawn_blocking(move || page()).await {
        Ok(page) => Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)),
        // A panic in it has been reported by the panic hook.
        Err(_ended) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

const FRESH: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-cache")];
