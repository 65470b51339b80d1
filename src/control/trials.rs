//! The gates that the controller runs: for changes, for the config file, and to see. Each can be given up.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    controller::Controller,
    entry::Entry,
    gates::{connect, demand, whole_gate},
    message::{Message, ReloadGate},
    refusal,
    trial::{Errand, Running, Trial},
    under_way::in_words,
};
use crate::{
    api::{CancelReply, GatePurpose, GateReport, Problem, ProblemKind, TestReply},
    checks::Gate,
    config::SlotSettings,
    ids::{ServiceName, Slot},
    switch::{self, Change, OpId, Stage},
    upstream::Endpoint,
};

/// A test of a slot that nobody waits for. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct BackgroundTest {
    op: OpId,
    trial: Running,
}

impl BackgroundTest {
    /// What it looks at no longer stands in the slot.
    pub(super) fn outdated(self) {
        self.trial.stop("other contents were put into the slot");
    }
}

/// What a test has found.
#[derive(Debug)]
pub(super) struct TestEnd {
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    /// What stood in the slot when it began.
    pub(super) contents: SlotSettings,
    pub(super) report: GateReport,
    /// Of a test in the background: which.
    pub(super) op: Option<OpId>,
}

impl Controller {
    /// Tests what the change would bring traffic to.
    pub(super) fn start_gate(&mut self, service: &ServiceName, op: OpId, change: Change) {
        let Some((entry, open)) = self.entries.get(service).zip(self.open.get_mut(&op)) else { return };
        open.change = Some(change);
        let endpoints = match (change, &open.contents) {
            // What is to stand in the slot is tested before it does.
            (Change::Replace { .. }, Some(contents)) => {
                let endpoint = |wanted| Arc::new(Endpoint::with_tls(wanted, &entry.tls));
                contents.endpoints.iter().map(endpoint).collect()
            }
            _ => entry.slots[change.slot()].endpoints.clone(),
        };
        let connect = connect(&self.workers, service, change);
        let gate = Gate { demand: demand(change), connect, ..gate_of(entry, endpoints) };
        let purpose = match change {
            Change::Switch { .. } => GatePurpose::Switch,
            Change::Rollback { .. } => GatePurpose::Rollback,
            Change::Replace { .. } => GatePurpose::Slot,
        };
        let errand = Errand { service: service.clone(), slot: change.slot(), purpose, actor: open.actor.clone() };
        let (service, inbox) = (service.clone(), self.around.inbox.clone());
        open.trial = Some(Trial::new(errand, gate, &self.around.gallery).start(move |report| async move {
            // A controller that has ended switches nothing.
            let _ = inbox.send(Message::GateDone { service, op, report }).await;
        }));
    }

    /// The request ends without its gate's verdict; what the gate has seen stays with it.
    pub(super) fn stop_gate(&mut self, op: OpId) {
        let Some(open) = self.open.get_mut(&op) else { return };
        if let Some(trial) = open.trial.take() {
            let why = open.ended_by.as_deref().unwrap_or("the config file changed the service meanwhile");
            open.gate = Some(trial.stop(why));
        }
    }

    pub(super) async fn gate_done(&mut self, service: &ServiceName, op: OpId, report: GateReport) {
        let Some((entry, open)) = self.entries.get_mut(service).zip(self.open.get_mut(&op)) else { return };
        open.trial = None;
        if let (Some(change), None) = (open.change, &open.contents) {
            entry.slots[change.slot()].note_test(report.clone());
        }
        let event = if report.passed { switch::Event::GatePassed(op) } else { switch::Event::GateFailed(op) };
        open.gate = Some(report);
        let effects = entry.machine.step(event);
        self.carry_out(service, effects).await;
    }

    /// Calls off what is being prepared for a service.
    pub(super) async fn cancel(&mut self, service: &str, actor: &str) -> Result<CancelReply, Problem> {
        let name = self.known(service)?;
        let pending = self.entries.get(&name).and_then(|entry| entry.machine.pending());
        let Some(pending) = pending.filter(|pending| pending.stage == Stage::Gate) else {
            return Err(refusal::not_cancellable(&name, self.preparing(&name).as_ref()));
        };
        let asked_by = self.open.get_mut(&pending.op).map(|open| {
            open.ended_by = Some(format!("cancelled by {actor}"));
            open.actor.clone()
        });
        let effects = self.entries.get_mut(&name).map(|entry| entry.machine.step(switch::Event::Cancelled(pending.op)));
        self.carry_out(&name, effects.unwrap_or_default()).await;
        let asked_by = asked_by.unwrap_or_default();
        let message = format!(
            "service {name}: {}, asked for by {asked_by}, is cancelled; nothing changed",
            in_words(pending.change)
        );
        tracing::info!(service = %name, actor, "{message}.");
        Ok(CancelReply { service: name, message })
    }

    /// Tests a slot in the background. A newer test takes the place of an older one.
    pub(super) fn test(&mut self, service: &str, slot: Slot, actor: String) -> Result<TestReply, Problem> {
        let name = self.known(service)?;
        let op = self.new_op();
        let Some(entry) = self.entries.get_mut(&name) else { return Err(refusal::shutting_down()) };
        if let Some(older) = entry.slots[slot].test.take() {
            older.trial.stop(&format!("superseded by a newer test, which {actor} asked for"));
        }
        let errand = Errand { service: name.clone(), slot, purpose: GatePurpose::Test, actor };
        let gate = gate_of(entry, entry.slots[slot].endpoints.clone());
        let (service, contents) = (name.clone(), entry.slots[slot].contents.clone());
        let inbox = self.around.inbox.clone();
        let trial = Trial::new(errand, gate, &self.around.gallery).start(move |report| async move {
            let end = TestEnd { service, slot, contents, report, op: Some(op) };
            // A controller that has ended keeps no results.
            let _ = inbox.send(Message::Tested { end, noted: None }).await;
        });
        entry.slots[slot].test = Some(BackgroundTest { op, trial });
        Ok(TestReply { service: name, slot, under_way: true, gate: GateReport::default() })
    }

    /// Notes what a test has found, if it was about what stands in the slot now.
    pub(super) fn tested(&mut self, end: TestEnd, noted: Option<oneshot::Sender<()>>) {
        let Some(entry) = self.entries.get_mut(&end.service) else { return };
        let books = &mut entry.slots[end.slot];
        let is_current = end.op.is_none() || books.test.as_ref().map(|test| test.op) == end.op;
        if end.op.is_some() && is_current {
            books.test = None;
        }
        if is_current && books.contents == end.contents {
            books.note_test(end.report);
            self.show_one(&end.service);
        }
        // Whoever waited for it may have gone.
        let _ = noted.map(|noted| noted.send(()));
    }

    pub(super) fn cancel_test(&mut self, service: &str, slot: Slot, actor: &str) -> Result<CancelReply, Problem> {
        let name = self.known(service)?;
        let Some(test) = self.entries.get_mut(&name).and_then(|entry| entry.slots[slot].test.take()) else {
            let message = format!("no test of slot {slot} of service {name} runs in the background");
            let hint = "a test that its caller waits for ends when the caller hangs up";
            return Err(Problem::new(ProblemKind::Refused, message).hint(hint));
        };
        test.trial.stop(&format!("cancelled by {actor}"));
        let message = format!("service {name}: the test of {slot} is cancelled");
        Ok(CancelReply { service: name, message })
    }

    /// Runs gates for a reload, each of which reports when it is done.
    pub(super) fn start_reload_gates(&self, op: OpId, gates: Vec<PlannedGate>, actor: &str) -> Vec<ReloadTrial> {
        let start = |planned: PlannedGate| {
            let PlannedGate { service, slot, contents, gate } = planned;
            let errand =
                Errand { service: service.clone(), slot, purpose: GatePurpose::Reload, actor: actor.to_owned() };
            let (name, inbox) = (service.clone(), self.around.inbox.clone());
            let trial = Trial::new(errand, gate, &self.around.gallery).start(move |report| async move {
                let gate = ReloadGate { op, service, slot, contents, report };
                // A controller that has ended reads no files.
                let _ = inbox.send(Message::ReloadGated(Box::new(gate))).await;
            });
            ReloadTrial { service: name, slot, trial, is_done: false }
        };
        gates.into_iter().map(start).collect()
    }

    fn known(&self, service: &str) -> Result<ServiceName, Problem> {
        let found = service.parse::<ServiceName>().ok().filter(|name| self.entries.contains_key(name));
        found.ok_or_else(|| refusal::unknown_service(service, self.entries.keys()))
    }
}

/// A gate that a reload needs.
#[derive(Debug)]
pub(super) struct PlannedGate {
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    pub(super) contents: SlotSettings,
    pub(super) gate: Gate,
}

/// A gate of a reload that runs, or has run.
#[derive(Debug)]
pub(super) struct ReloadTrial {
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    pub(super) trial: Running,
    pub(super) is_done: bool,
}

/// The whole gate of these endpoints, with what the service is.
fn gate_of(entry: &Entry, endpoints: Vec<Arc<Endpoint>>) -> Gate {
    let active = &entry.slots[entry.machine.active()].endpoints;
    whole_gate(&entry.settings, entry.golden.as_ref(), endpoints, active)
}
