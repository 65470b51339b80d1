//! One slot's gate, tried without consequences.

use std::sync::Arc;

use axum::extract::{Request, State};

use super::{
    actor::Actor,
    answer::{Answer, done_or_under_way, ok},
    body,
    path::AtSlot,
    shared::Shared,
};
use crate::api::{CancelReply, Problem, TestReply, TestRequest};

/// Runs a slot's gate and changes nothing. The answer is 200 whether the gate passed or not; the report says which. A caller
/// that hangs up gives the gate up. With `background`, the answer comes as soon as the gate runs; a newer test of the
/// same slot takes the place of an older one in the background.
#[utoipa::path(
    post, path = "/v1/services/{service}/slots/{slot}/test", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
    ),
    request_body(content = TestRequest, description = "May be empty.", content_type = "application/json"),
    responses(
        (status = 200, description = "The gate's report.", body = TestReply),
        (status = 202, description = "The gate runs in the background.", body = TestReply),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn test_slot(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let asked: TestRequest = body::or_default(request).await?;
    let reply = shared.stopping.cuts(shared.handle.test_slot(&name, slot, asked, actor)).await?;
    Ok(done_or_under_way(!reply.under_way, &reply))
}

/// Gives up the test of a slot that runs in the background.
#[utoipa::path(
    delete, path = "/v1/services/{service}/slots/{slot}/test", tag = "slot",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
    ),
    responses(
        (status = 200, description = "Given up.", body = CancelReply),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 409, description = "No test of the slot runs in the background.", body = Problem),
    ),
)]
pub(super) async fn cancel_test(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Actor(actor): Actor,
) -> Answer {
    Ok(ok(&shared.stopping.cuts(shared.handle.cancel_test(&name, slot, actor)).await?))
}
