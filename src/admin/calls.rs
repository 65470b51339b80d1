//! The `/v1` calls. Each parses, asks the handle, and answers.

use std::time::Duration;

use axum::{
    Extension,
    extract::{Path, Query, State as Extracted, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{
    reply::{Refused, body, json},
    serve::{Peer, Shared},
};
use crate::{
    api::{
        ChangeReply, DrainRequest, DrainStatus, History, Problem, ProblemKind, ReloadReply, RollbackRequest,
        ServiceList, ServiceStatus, SlotUpdate, SwitchRequest, TestReply, WaitFor,
    },
    config::parse_duration,
    ids::Slot,
};

type Answer = Result<Response, Refused>;
type Body = Result<Bytes, BytesRejection>;

/// History lines given if the caller does not say, and at most.
const HISTORY_DEFAULT: usize = 100;
const HISTORY_MAX: usize = 10_000;
/// Longest `?wait=`.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// All services and the process.
#[utoipa::path(get, path = "/v1/services", tag = "services", responses((status = 200, body = ServiceList)))]
pub(super) async fn services(Extracted(shared): Extracted<Shared>) -> Response {
    json(StatusCode::OK, &shared.handle.list().await)
}

/// One service; its ETag is the generation.
#[utoipa::path(get, path = "/v1/services/{service}", tag = "services", params(("service" = String, Path)), responses(
    (status = 200, body = ServiceStatus), (status = 304, description = "Still at the generation given."), (status = 404, body = Problem),
))]
pub(super) async fn service(
    Extracted(shared): Extracted<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let status = shared.handle.service(&name).await?;
    let etag = format!("\"{}\"", status.generation);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(StatusCode::OK, &status)
    };
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

/// Moves traffic to a slot, after its gate.
#[utoipa::path(post, path = "/v1/services/{service}/switch", tag = "changes", params(("service" = String, Path)), request_body = SwitchRequest, responses(
    (status = 200, body = ChangeReply), (status = 202, description = "Switched; the wait ended before the drain did.", body = ChangeReply),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn switch(
    Extracted(shared): Extracted<Shared>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let mut request: SwitchRequest = body(bytes)?;
    request.if_generation = if_generation(&headers, request.if_generation)?;
    let waits = request.wait;
    let reply = shared.handle.switch(&name, request, peer.actor(&headers)).await?;
    Ok(changed(waits, &reply))
}

/// Moves traffic back to the slot that served before.
#[utoipa::path(post, path = "/v1/services/{service}/rollback", tag = "changes", params(("service" = String, Path)), request_body = RollbackRequest, responses(
    (status = 200, body = ChangeReply), (status = 202, description = "Switched; the wait ended before the drain did.", body = ChangeReply),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn rollback(
    Extracted(shared): Extracted<Shared>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let mut request: RollbackRequest = body(bytes)?;
    request.if_generation = if_generation(&headers, request.if_generation)?;
    let waits = request.wait;
    let reply = shared.handle.rollback(&name, request, peer.actor(&headers)).await?;
    Ok(changed(waits, &reply))
}

fn changed(waits: Option<WaitFor>, reply: &ChangeReply) -> Response {
    let drained = reply.drain.as_ref().is_none_or(|drain| drain.safe_to_delete);
    let status = if waits.is_some() && !drained { StatusCode::ACCEPTED } else { StatusCode::OK };
    json(status, reply)
}

/// Puts other endpoints, and another version, into a slot.
#[utoipa::path(put, path = "/v1/services/{service}/slots/{slot}", tag = "changes", params(("service" = String, Path), ("slot" = Slot, Path)), request_body = SlotUpdate, responses(
    (status = 200, body = ChangeReply), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn replace_slot(
    Extracted(shared): Extracted<Shared>,
    Extension(peer): Extension<Peer>,
    Path((name, slot)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let slot = parse_slot(&slot)?;
    let mut update: SlotUpdate = body(bytes)?;
    update.if_generation = if_generation(&headers, update.if_generation)?;
    let reply = shared.handle.replace_slot(&name, slot, update, peer.actor(&headers)).await?;
    Ok(json(StatusCode::OK, &reply))
}

/// Runs a slot's gate and changes nothing.
#[utoipa::path(post, path = "/v1/services/{service}/slots/{slot}/test", tag = "slots", params(("service" = String, Path), ("slot" = Slot, Path)), responses(
    (status = 200, description = "The report; `gate.passed` is the verdict.", body = TestReply), (status = 404, body = Problem),
))]
pub(super) async fn test(Extracted(shared): Extracted<Shared>, Path((name, slot)): Path<(String, String)>) -> Answer {
    let reply = shared.handle.test_slot(&name, parse_slot(&slot)?).await?;
    Ok(json(StatusCode::OK, &reply))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    /// Answer when the slot is safe to delete, or after this long (`30s`).
    wait: Option<String>,
}

/// How a slot's drain stands.
#[utoipa::path(get, path = "/v1/services/{service}/slots/{slot}/drain", tag = "slots", params(("service" = String, Path), ("slot" = Slot, Path), DrainQuery), responses(
    (status = 200, body = DrainStatus), (status = 404, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn drain(
    Extracted(shared): Extracted<Shared>,
    Path((name, slot)): Path<(String, String)>,
    uri: axum::http::Uri,
) -> Answer {
    let slot = parse_slot(&slot)?;
    let query: DrainQuery = query(&uri)?;
    let wait = query.wait.as_deref().map(parse_duration).transpose();
    let wait = wait.map_err(|error| Problem::new(ProblemKind::Invalid, format!("wait: {error}")).hint(error.hint()))?;
    let status = shared.handle.drain_status(&name, slot, wait.map(|wait| wait.min(WAIT_MAX))).await?;
    Ok(json(StatusCode::OK, &status))
}

/// Cuts what still runs on a slot after a while.
#[utoipa::path(post, path = "/v1/services/{service}/slots/{slot}/drain", tag = "slots", params(("service" = String, Path), ("slot" = Slot, Path)), request_body = DrainRequest, responses(
    (status = 200, body = DrainStatus), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn begin_drain(
    Extracted(shared): Extracted<Shared>,
    Extension(peer): Extension<Peer>,
    Path((name, slot)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let slot = parse_slot(&slot)?;
    let request: DrainRequest = body(bytes)?;
    let status = shared.handle.begin_drain(&name, slot, request, peer.actor(&headers)).await?;
    Ok(json(StatusCode::OK, &status))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Newest lines given; 100 if left out.
    limit: Option<usize>,
}

/// What happened to a service, newest first.
#[utoipa::path(get, path = "/v1/services/{service}/history", tag = "services", params(("service" = String, Path), HistoryQuery), responses(
    (status = 200, body = History), (status = 404, body = Problem), (status = 422, body = Problem),
))]
pub(super) async fn history(
    Extracted(shared): Extracted<Shared>,
    Path(name): Path<String>,
    uri: axum::http::Uri,
) -> Answer {
    let query: HistoryQuery = query(&uri)?;
    let limit = query.limit.unwrap_or(HISTORY_DEFAULT).min(HISTORY_MAX);
    Ok(json(StatusCode::OK, &shared.handle.history(&name, limit).await?))
}

/// Reads the config file and does what it says.
#[utoipa::path(post, path = "/v1/config/reload", tag = "config", responses((status = 200, body = ReloadReply), (status = 422, body = Problem)))]
pub(super) async fn reload(
    Extracted(shared): Extracted<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Answer {
    Ok(json(StatusCode::OK, &shared.handle.reload(peer.actor(&headers)).await?))
}

/// No such path.
pub(super) async fn not_found(uri: axum::http::Uri) -> Refused {
    let path: String = uri.path().chars().take(200).collect();
    Refused(
        Problem::new(ProblemKind::NotFound, format!("there is nothing at {path}"))
            .hint("see /openapi.json for the calls"),
    )
}

/// Not with this method.
pub(super) async fn method_not_allowed() -> Refused {
    Refused(
        Problem::new(ProblemKind::MethodNotAllowed, "this path does not take this method")
            .hint("see /openapi.json for the calls"),
    )
}

fn parse_slot(text: &str) -> Result<Slot, Problem> {
    text.parse().map_err(|error| Problem::new(ProblemKind::NotFound, format!("{error}")))
}

fn query<T: DeserializeOwned>(uri: &axum::http::Uri) -> Result<T, Problem> {
    let parsed = Query::try_from_uri(uri);
    parsed.map(|Query(query)| query).map_err(|error| Problem::new(ProblemKind::Invalid, error.body_text()))
}

/// The generation that the caller wants to find: from the body or from `If-Match`, which must not contradict.
fn if_generation(headers: &HeaderMap, from_body: Option<u64>) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(from_body);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(from_body);
    }
    let generation = text.trim_matches('"').parse().map_err(|_not_a_number| {
        Problem::new(ProblemKind::Invalid, format!("If-Match: {text:?} is not a generation"))
            .hint("send the ETag of GET /v1/services/{service}")
    })?;
    match from_body {
        Some(other) if other != generation => {
            let message = format!("If-Match says generation {generation}, if_generation says {other}");
            Err(Problem::new(ProblemKind::Invalid, message))
        }
        Some(_) | None => Ok(Some(generation)),
    }
}
