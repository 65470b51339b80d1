//! What the handle is asked about gates: to test a slot, to call off, to say what a switch would do.

use std::fmt::Display;

use tokio::sync::oneshot;

use super::{
    Handle,
    gates::{demand, whole_gate},
    handle::needs_reason,
    message::Message,
    overview::{ServiceView, count_in_words},
    refusal::{self, Circumstances},
    trial::{Errand, Trial},
    trials::TestEnd,
};
use crate::{
    api::{CancelReply, DrainStatus, DryRun, GatePurpose, PlannedStep, Problem, SwitchRequest, TestReply, TestRequest},
    checks::{Gate, planned},
    ids::{Generation, Slot},
    switch::{Answer, Ask, Change, Effect, Event, OpId, Refusal},
};

impl Handle {
    /// Runs a slot's gate and changes nothing. In the background, it answers as soon as the gate runs, and takes the place
    /// of a test in the background of the same slot.
    ///
    /// Cancelling the future gives the gate up, unless it runs in the background.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn test_slot(
        &self,
        name: &str,
        slot: Slot,
        request: TestRequest,
        actor: String,
    ) -> Result<TestReply, Problem> {
        let service = name.to_owned();
        if request.background {
            return self.tell(|reply| Message::Test { service, slot, actor, reply }).await;
        }
        let view = self.view(name)?;
        let service = view.settings.name.clone();
        let errand = Errand { service: service.clone(), slot, purpose: GatePurpose::Test, actor };
        let report = Trial::new(errand, gate_of(&view, slot), &self.inner.gallery).run().await;
        let contents = view.slots[slot].contents.clone();
        let (noted, done) = oneshot::channel();
        let end = TestEnd { service: service.clone(), slot, contents, report: report.clone(), op: None };
        if self.send(Message::Tested { end, noted: Some(noted) }).await.is_ok() {
            // An error says that the service is gone; its slot has no status then.
            let _ = done.await;
        }
        Ok(TestReply { service, slot, under_way: false, gate: report })
    }

    /// Calls off the change that is being prepared. Whoever waits for it is told.
    ///
    /// # Errors
    /// `not_found`; `refused` if there is none, or its gate has passed.
    pub async fn cancel_change(&self, name: &str, actor: String) -> Result<CancelReply, Problem> {
        let service = name.to_owned();
        self.tell(|reply| Message::Cancel { service, actor, reply }).await
    }

    /// Calls off a test in the background.
    ///
    /// # Errors
    /// `not_found`; `refused` if there is none.
    pub async fn cancel_test(&self, name: &str, slot: Slot, actor: String) -> Result<CancelReply, Problem> {
        let service = name.to_owned();
        self.tell(|reply| Message::CancelTest { service, slot, actor, reply }).await
    }

    async fn tell<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Message,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.unwrap_or_else(|_gone| Err(refusal::shutting_down()))
    }

    /// What a switch would do. Nothing is asked of any server, and nothing is written down.
    ///
    /// # Errors
    /// `not_found`; `invalid` if the request is wrong. A switch that would be refused is none: the answer says why.
    pub async fn dry_run(&self, name: &str, request: SwitchRequest) -> Result<DryRun, Problem> {
        needs_reason(request.force, request.reason.as_deref())?;
        let view = self.view(name)?;
        let (active, to) = (view.active, request.to.unwrap_or(view.active.other()));
        let refused = view.would_refuse(&request);
        let steps = if to == active { Vec::new() } else { view.planned(to) };
        let mut drain = view.drain(active);
        drain.oldest_ms = self.oldest_ms(&view, active).await;
        drain.why = format!("{} of {active} would have to end", count_in_words(drain.in_flight));
        let rollback = view.rollback(if to == active { view.machine.previous() } else { Some(active) });
        let message = match &refused {
            Some(why) => format!("{}: a switch to {to} would be refused: {why}", view.settings.name),
            None => {
                let way_back = if rollback.instant { "instant" } else { "not instant" };
                would_do(&view, to, &steps, &drain, format_args!("a rollback to {active} would be {way_back}"))
            }
        };
        let service = view.settings.name.clone();
        Ok(DryRun { service, generation: view.generation, active, to, refused, steps, drain, rollback, message })
    }
}

fn would_do(
    view: &ServiceView,
    to: Slot,
    steps: &[PlannedStep],
    drain: &DrainStatus,
    rollback: impl Display,
) -> String {
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    let (service, active) = (&view.settings.name, view.active);
    let drain = count_in_words(drain.in_flight);
    format!(
        "{service}: a switch to {to} would pass the gate ({}), then {drain} of {active} would drain; {rollback}",
        names.join(", ")
    )
}

/// The whole gate of a slot as it stands.
fn gate_of(view: &ServiceView, slot: Slot) -> Gate {
    let endpoints = view.slots[slot].endpoints.clone();
    whole_gate(&view.settings, view.golden.as_ref(), endpoints, &view.slots[view.active].endpoints)
}

impl ServiceView {
    fn planned(&self, to: Slot) -> Vec<PlannedStep> {
        planned(&Gate { demand: demand(Change::Switch { to }), ..gate_of(self, to) })
    }

    /// Why a switch would be refused before its gate: a copy of the machine is asked.
    fn would_refuse(&self, request: &SwitchRequest) -> Option<String> {
        let effects = self.machine.clone().step(Event::Asked {
            op: NOBODY,
            ask: Ask::Switch { to: request.to },
            if_generation: request.if_generation.map(Generation),
            force: request.force,
            supersede: request.supersede,
        });
        effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { op: NOBODY, answer: Answer::Unchanged } => {
                Some(format!("slot {} of service {} is active already", self.active, self.settings.name))
            }
            Effect::Answer { op: NOBODY, answer: Answer::Refused(refusal) } => Some(self.in_words(refusal)),
            _ => None,
        })
    }

    fn in_words(&self, refusal: Refusal) -> String {
        let under_way = self.preparing.clone();
        let circumstances = Circumstances { generation: self.generation, under_way, ..Circumstances::default() };
        refusal::problem(&self.settings.name, refusal, circumstances).message
    }
}

/// The one who asks on a machine that is thrown away.
const NOBODY: OpId = OpId(u64::MAX);
