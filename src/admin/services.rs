//! What is and what was: services and their history.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;

use super::{
    answer::{Answer, ok},
    generation,
    path::{Asked, AtService},
    shared::Shared,
};
use crate::api::{History, Problem, ProblemKind, ServiceList, ServiceStatus};

/// All services and the process itself.
#[utoipa::path(
    get, path = "/v1/services", tag = "status",
    responses((status = 200, description = "Everything that is.", body = ServiceList)),
)]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(ok(&shared.handle.list().await))
}

/// One service. Its `ETag` is the generation; counts, ages and health change without it.
#[utoipa::path(
    get, path = "/v1/services/{service}", tag = "status",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("if-none-match" = Option<String>, Header, description = "A generation that the caller has, such as `\"7\"`."),
    ),
    responses(
        (status = 200, description = "The service.", body = ServiceStatus, headers(("etag" = String, description = "The generation in quotes."))),
        (status = 304, description = "The service is still at that generation."),
        (status = 404, description = "No such service.", body = Problem),
    ),
)]
pub(super) async fn one(State(shared): State<Arc<Shared>>, AtService(name): AtService, headers: HeaderMap) -> Answer {
    let status = shared.handle.service(&name).await?;
    let tag = [(header::ETAG, generation::tag(status.generation))];
    if generation::is_known(&headers, status.generation) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, ok(&status)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    #[serde(default = "limit_default")]
    limit: usize,
}

fn limit_default() -> usize {
    100
}

/// The journal's entries about a service, newest first. Services that were removed are found too.
#[utoipa::path(
    get, path = "/v1/services/{service}/history", tag = "status",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("limit" = Option<usize>, Query, description = "Number of entries, 1 to 1000; 100 if left out."),
    ),
    responses(
        (status = 200, description = "The entries.", body = History),
        (status = 404, description = "No such service.", body = Problem),
        (status = 422, description = "The limit is wrong.", body = Problem),
    ),
)]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    AtService(name): AtService,
    Asked(query): Asked<HistoryQuery>,
) -> Answer {
    if !(1..=HISTORY_ENTRIES_MAX).contains(&query.limit) {
        let message = format!("limit: 1 to {HISTORY_ENTRIES_MAX} (got {})", query.limit);
        return Err(Problem::new(ProblemKind::Invalid, message).into());
    }
    Ok(ok(&shared.handle.history(&name, query.limit).await?))
}

const HISTORY_ENTRIES_MAX: usize = 1000;
