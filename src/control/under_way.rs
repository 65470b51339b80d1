//! A change that is being prepared, as others may see it: status, and who is told "busy".

use tokio::sync::watch;

use super::controller::{Controller, Open};
use crate::{
    api::{GateProgress, UnderWay},
    ids::{ServiceName, Slot},
    switch::{Change, Pending, Stage},
};

/// A change that is being prepared.
#[derive(Clone, Debug)]
pub(super) struct Preparing {
    /// In words: `switch to green`.
    pub(super) what: String,
    pub(super) slot: Slot,
    /// The active slot may soon be the other one.
    pub(super) leaves: bool,
    stage: Stage,
    /// The request asked for it itself; a file is corrected instead.
    by_request: bool,
    actor: String,
    since: String,
    seen: Option<watch::Receiver<GateProgress>>,
}

impl Preparing {
    fn asked_for(pending: Pending, open: &Open) -> Self {
        Self {
            what: in_words(pending.change),
            slot: pending.change.slot(),
            leaves: matches!(pending.change, Change::Switch { .. } | Change::Rollback { .. }),
            stage: pending.stage,
            by_request: true,
            actor: open.actor.clone(),
            since: open.since.clone(),
            seen: open.trial.as_ref().map(|trial| trial.seen().clone()),
        }
    }

    /// What the config file is about to change.
    pub(super) fn by_file(
        active: Slot,
        slot: Slot,
        actor: &str,
        since: &str,
        seen: watch::Receiver<GateProgress>,
    ) -> Self {
        let what = if slot == active { Change::Replace { slot, empty: false } } else { Change::Switch { to: slot } };
        Self {
            what: format!("{} by the config file", in_words(what)),
            slot,
            leaves: slot != active,
            stage: Stage::Gate,
            by_request: false,
            actor: actor.to_owned(),
            since: since.to_owned(),
            seen: Some(seen),
        }
    }

    /// `switch to green: gate`
    pub(super) fn in_short(&self) -> String {
        let stage = match self.stage {
            Stage::Gate => "gate",
            Stage::Journal => "journal",
        };
        format!("{}: {stage}", self.what)
    }

    /// `switch to green, asked for by api 127.0.0.1 at 2026-11-21T14:00:00.000Z`
    pub(super) fn in_full(&self) -> String {
        format!("{}, asked for by {} at {}", self.what, self.actor, self.since)
    }

    /// How far it is now.
    pub(super) fn view(&self) -> UnderWay {
        UnderWay {
            what: self.what.clone(),
            slot: self.slot,
            actor: self.actor.clone(),
            since: self.since.clone(),
            cancellable: self.by_request && self.stage == Stage::Gate,
            gate: self.seen.as_ref().map(|seen| seen.borrow().clone()).unwrap_or_default(),
        }
    }
}

impl Controller {
    /// What is being prepared for a service: what was asked for, or else what the config file is about to change.
    pub(super) fn preparing(&self, service: &ServiceName) -> Option<Preparing> {
        let entry = self.entries.get(service)?;
        match entry.machine.pending() {
            Some(pending) => self.open.get(&pending.op).map(|open| Preparing::asked_for(pending, open)),
            None => self.reload.as_ref()?.preparing(service, entry.machine.active()),
        }
    }
}

/// `switch to green`
pub(super) fn in_words(change: Change) -> String {
    match change {
        Change::Switch { to } => format!("switch to {to}"),
        Change::Rollback { to } => format!("rollback to {to}"),
        Change::Replace { slot, .. } => format!("new endpoints for {slot}"),
    }
}
