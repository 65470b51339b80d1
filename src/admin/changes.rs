//! What moves or replaces: switch, rollback, a slot's contents, the config file.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, done_or_under_way, ok},
    body, generation,
    path::{AtService, AtSlot},
    shared::Shared,
};
use crate::api::{
    CancelReply, ChangeOutcome, ChangeReply, DryRun, Problem, ReloadReply, RollbackRequest, SlotUpdate, SwitchRequest,
    WaitFor,
};

/// What a switch answers: what it did, or what it would do.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the API's description needs it")]
enum SwitchReply {
    Change(ChangeReply),
    DryRun(DryRun),
}

/// Moves traffic to a slot, after its gate. An empty body switches to the other slot.
#[utoipa::path(
    post, path = "/v1/services/{service}/switch", tag = "change",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("if-match" = Option<String>, Header, description = "The same as `if_generation`, as an entity tag: `\"7\"`."),
    ),
    request_body(content = SwitchRequest, description = "May be empty.", content_type = "application/json"),
    responses(
        (status = 200, description = "Switched; drained too, if that was waited for. Or what a switch would do, for a dry run.", body = SwitchReply),
        (status = 202, description = "Switched, but not drained when the wait was over; or the gate runs, for `wait: none`.", body = ChangeReply),
        (status = 404, description = "No such service.", body = Problem),
        (status = 409, description = "Refused by the gate, with its report, busy, or cancelled. Nothing changed.", body = Problem),
        (status = 412, description = "The service is at another generation. Nothing changed.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn switch(
    State(shared): State<Arc<Shared>>,
    AtService(name): AtService,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let asked: SwitchRequest = asked(request, body::or_default).await?;
    if asked.dry_run {
        return Ok(ok(&shared.handle.dry_run(&name, asked).await?));
    }
    let wait = asked.wait;
    let reply = shared.stopping.cuts(shared.handle.switch(&name, asked, actor)).await?;
    Ok(changed(wait, &reply))
}

/// Moves traffic back to the slot that served before.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollback", tag = "change",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("if-match" = Option<String>, Header, description = "The same as `if_generation`, as an entity tag: `\"7\"`."),
    ),
    request_body(content = RollbackRequest, description = "May be empty.", content_type = "application/json"),
    responses(
        (status = 200, description = "Rolled back; drained too, if that was waited for.", body = ChangeReply),
        (status = 202, description = "Rolled back, but not drained when the wait was over; or the gate runs, for `wait: none`.", body = ChangeReply),
        (status = 404, description = "No such service.", body = Problem),
        (status = 409, description = "Nothing to roll back to, refused by the gate, busy, or cancelled. Nothing changed.", body = Problem),
        (status = 412, description = "The service is at another generation. Nothing changed.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn rollback(
    State(shared): State<Arc<Shared>>,
    AtService(name): AtService,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let asked: RollbackRequest = asked(request, body::or_default).await?;
    let wait = asked.wait;
    let reply = shared.stopping.cuts(shared.handle.rollback(&name, asked, actor)).await?;
    Ok(changed(wait, &reply))
}

/// Puts other endpoints, and another version, into a slot: as a whole, never in part.
#[utoipa::path(
    put, path = "/v1/services/{service}/slots/{slot}", tag = "change",
    params(
        ("service" = String, Path, description = "Name of the service."),
        ("slot" = crate::ids::Slot, Path, description = "`blue` or `green`."),
        ("if-match" = Option<String>, Header, description = "The same as `if_generation`, as an entity tag: `\"7\"`."),
    ),
    request_body(content = SlotUpdate, content_type = "application/json"),
    responses(
        (status = 200, description = "Replaced.", body = ChangeReply),
        (status = 404, description = "No such service or slot.", body = Problem),
        (status = 409, description = "The slot is active and the new endpoints do not pass, busy, or cancelled. Nothing changed.", body = Problem),
        (status = 412, description = "The service is at another generation. Nothing changed.", body = Problem),
        (status = 422, description = "The request is wrong; the message has the place.", body = Problem),
    ),
)]
pub(super) async fn replace_slot(
    State(shared): State<Arc<Shared>>,
    AtSlot(name, slot): AtSlot,
    Actor(actor): Actor,
    request: Request,
) -> Answer {
    let update: SlotUpdate = asked(request, body::required).await?;
    let reply = shared.stopping.cuts(shared.handle.replace_slot(&name, slot, update, actor)).await?;
    Ok(ok(&reply))
}

/// Calls off the change that is being prepared: its gate is given up at once, and whoever waits for it is told.
#[utoipa::path(
    delete, path = "/v1/services/{service}/change", tag = "change",
    params(("service" = String, Path, description = "Name of the service.")),
    responses(
        (status = 200, description = "Cancelled. Nothing changed.", body = CancelReply),
        (status = 404, description = "No such service.", body = Problem),
        (status = 409, description = "Nothing is under way, or it is past its gate.", body = Problem),
    ),
)]
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    AtService(name): AtService,
    Actor(actor): Actor,
) -> Answer {
    Ok(ok(&shared.stopping.cuts(shared.handle.cancel_change(&name, actor)).await?))
}

/// Reads the config file and does what it says; all of it or nothing.
#[utoipa::path(
    post, path = "/v1/config/reload", tag = "change",
    responses(
        (status = 200, description = "The file holds now.", body = ReloadReply),
        (status = 409, description = "The file changed again while its gates ran; the newer content is taken.", body = Problem),
        (status = 422, description = "The file is refused, with each problem's place. Nothing changed.", body = Problem),
    ),
)]
pub(super) async fn reload(State(shared): State<Arc<Shared>>, Actor(actor): Actor) -> Answer {
    Ok(ok(&shared.stopping.cuts(shared.handle.reload(actor)).await?))
}

/// 202 if the gate still runs, or the caller waits for a drain that is still under way.
fn changed(wait: Option<WaitFor>, reply: &ChangeReply) -> Response {
    let drained = reply.drain.as_ref().is_some_and(|drain| drain.safe_to_delete);
    let done = reply.outcome != ChangeOutcome::UnderWay && (wait != Some(WaitFor::Drained) || drained);
    done_or_under_way(done, reply)
}

/// A request for a change of one service, which may insist on a generation.
trait Insists {
    fn if_generation(&mut self) -> &mut Option<u64>;
}

macro_rules! insists {
    ($($request:ty),*) => {
        $(impl Insists for $request {
            fn if_generation(&mut self) -> &mut Option<u64> {
                &mut self.if_generation
            }
        })*
    };
}

insists!(SwitchRequest, RollbackRequest, SlotUpdate);

/// The request's body, with the generation that its head insists on, if it does.
async fn asked<T: Insists>(
    request: Request,
    read: impl AsyncFnOnce(Request) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let headers = request.headers().clone();
    let mut asked = read(request).await?;
    let said = asked.if_generation();
    *said = generation::insisted_on(&headers, *said)?;
    Ok(asked)
}
