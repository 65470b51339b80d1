//! Recording a golden file from a slot.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::{
    actor::Actor,
    answer::{Answer, ok},
    body,
    path::AtSlot,
    shared::Shared,
};
use crate::api::{Problem, RecordProgress, RecordReply, RecordRequest};

/// Records a golden file: from the live traffic of the slot that serves, or from requests that are given. Answers when it
/// has ended; it ends at once, without an answer, when the caller hangs up. Credentials are never recorded.
#[utoipa::path(
    post, path = "/v1/services/{service}/slots/{slot}/record", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
    ),
    request_body(content = RecordRequest, description = "May be empty; up to 64 MiB.", content_type = "application/json"),
    responses(
        (status = 200, description = "The file, and what is not in it.", body = RecordReply),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 409, description = "A recording runs on the slot, or there is nothing to record from.", body = Problem),
        (status = 413, description = "The requests that are given are longer than 64 MiB.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn record(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let asked: RecordRequest = body::with_file(request).await?;
    // Not in a task of its own: it is to end with its caller.
    Ok(ok(&shared.stopping.cuts(shared.handle.record(&name, slot, asked, &actor)).await?))
}

/// How far the slot's recording is.
#[utoipa::path(
    get, path = "/v1/services/{service}/slots/{slot}/record", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
    ),
    responses(
        (status = 200, description = "Its numbers; zeros if none runs.", body = RecordProgress),
        (status = 404, description = "No such service or slot.", body = Problem),
    ),
)]
pub(super) async fn progress(State(shared): State<Arc<Shared>>, AtSlot(name, slot): AtSlot) -> Answer {
    Ok(ok(&shared.handle.recording(&name, slot)?))
}
