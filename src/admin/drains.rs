//! One slot's drain.

use std::{sync::Arc, time::Duration};

use axum::extract::{Request, State};
use serde::Deserialize;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, done_or_under_way, ok},
    body,
    path::{Asked, AtSlot},
    shared::Shared,
};
use crate::{
    api::{DrainRequest, DrainStatus, Problem, ProblemKind},
    config::{BadQuantity, parse_duration},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    wait: Option<String>,
}

/// How a slot's drain stands; with `wait`, when the slot is safe to delete or the time is over.
#[utoipa::path(
    get, path = "/v1/services/{service}/slots/{slot}/drain", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
        ("wait" = Option<String>, Query, description = "How long to wait at most, such as `30s`."),
    ),
    responses(
        (status = 200, description = "The drain; `safe_to_delete` is the verdict.", body = DrainStatus),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 422, description = "The wait is not a duration.", body = Problem),
    ),
)]
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Asked(query): Asked<DrainQuery>,
) -> Answer {
    let wait = query.wait.as_deref().map(duration).transpose()?;
    let drain = tokio::select! {
        biased;
        drain = shared.handle.drain_status(&name, slot, wait) => drain?,
        // Nothing is lost by answering early: the status says how things stand.
        () = shared.stopping.begun() => shared.handle.drain_status(&name, slot, None).await?,
    };
    Ok(ok(&drain))
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    let invalid = |bad: BadQuantity| Problem::new(ProblemKind::Invalid, format!("wait: {bad}")).hint(bad.hint());
    parse_duration(text).map_err(|bad| invalid(bad).into())
}

/// Cuts what still runs on a standby slot, visibly to its clients, `cut_after` from now. The answer comes when the slot
/// is empty or was cut; the order stands even if the caller hangs up. Without `cut_after`, only says how it stands.
#[utoipa::path(
    post, path = "/v1/services/{service}/slots/{slot}/drain", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
    ),
    request_body(content = DrainRequest, description = "May be empty.", content_type = "application/json"),
    responses(
        (status = 200, description = "Safe to delete.", body = DrainStatus),
        (status = 202, description = "Not safe to delete yet.", body = DrainStatus),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 409, description = "The slot is active. Nothing changed.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let asked: DrainRequest = body::or_default(request).await?;
    let handle = shared.handle.clone();
    // In a task of its own, so that it goes on when the caller hangs up and this future is dropped.
    let order = tokio::spawn(async move { handle.begin_drain(&name, slot, asked, actor).await });
    let ended =
        |error: tokio::task::JoinError| Problem::new(ProblemKind::Internal, format!("the drain ended early: {error}"));
    let drain = shared.stopping.cuts(async { order.await.map_err(ended)? }).await?;
    Ok(done_or_under_way(drain.safe_to_delete, &drain))
}
