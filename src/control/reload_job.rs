//! A config file that waits for its gates.

use std::sync::Arc;

use super::{
    controller::{Controller, ReloadWaiter},
    gates::GoldenSets,
    message::ReloadGate,
    preview::Previews,
    tls::TlsClients,
    trials::ReloadTrial,
    under_way::Preparing,
};
use crate::{
    api::{GateReport, Problem, ProblemKind},
    config::{FileContent, Loaded, Marks, SlotSettings},
    ids::{ServiceName, Slot},
    net::tls::PreparedListeners,
    switch::OpId,
};

/// A file that has been read and waits for its gates.
#[derive(Debug)]
pub(super) struct ReloadJob {
    pub(super) op: OpId,
    pub(super) loaded: Arc<Loaded>,
    pub(super) waiter: ReloadWaiter,
    /// When it was read, RFC 3339.
    pub(super) since: String,
    /// Those that have run.
    pub(super) gates: Vec<ReloadGate>,
    /// Their runs, kept to the end: until then what they are for is under way.
    pub(super) trials: Vec<ReloadTrial>,
    pub(super) listeners: PreparedListeners,
    pub(super) tls: TlsClients,
    pub(super) golden: GoldenSets,
    /// How its files stood when they were read.
    pub(super) golden_files: Marks,
    pub(super) previews: Previews,
}

impl ReloadJob {
    /// What the file is about to change of a service.
    pub(super) fn preparing(&self, service: &ServiceName, active: Slot) -> Option<Preparing> {
        let trial = self.trials.iter().find(|trial| trial.service == *service)?;
        let seen = trial.trial.seen().clone();
        Some(Preparing::by_file(active, trial.slot, &self.waiter.actor, &self.since, seen))
    }

    pub(super) fn tested(&self, service: &ServiceName, contents: &SlotSettings) -> Option<&GateReport> {
        let gate = self.gates.iter().find(|gate| gate.service == *service && gate.contents == *contents);
        gate.map(|gate| &gate.report)
    }
}

impl Controller {
    /// A file that still waits for its gates when the next one is there is not waited for.
    pub(super) async fn give_up_outdated(&mut self) {
        let Some(job) = self.reload.take() else { return };
        let (path, hash) = (self.config_path.clone(), job.loaded.hash.clone());
        let is_newer = move || FileContent::of(&path).is_ok_and(|new| new.hash != hash && new.parse().is_ok());
        if !matches!(tokio::task::spawn_blocking(is_newer).await, Ok(true)) {
            self.reload = Some(job);
            return;
        }
        for trial in job.trials {
            trial.trial.stop("the config file has changed again");
        }
        self.show();
        tracing::warn!(
            actor = job.waiter.actor,
            "The config file changed again while its gates ran; the newer one is taken."
        );
        if let Some(reply) = job.waiter.reply {
            let message = format!("{} changed again while its gates ran", self.config_path.display());
            let problem = Problem::new(ProblemKind::Cancelled, message);
            drop(reply.send(Err(problem.hint("the newer content is taken; look at status"))));
        }
    }

    pub(super) async fn reload_gated(&mut self, gate: ReloadGate) {
        let Some(job) = self.reload.as_mut().filter(|job| job.op == gate.op) else { return };
        job.trials.iter_mut().filter(|trial| trial.service == gate.service).for_each(|trial| trial.is_done = true);
        let entry = self.entries.get_mut(&gate.service);
        if let Some(books) = entry.map(|entry| &mut entry.slots[gate.slot])
            && books.contents == gate.contents
        {
            books.note_test(gate.report.clone());
        }
        let (service, others) = (gate.service.clone(), job.trials.iter().any(|trial| !trial.is_done));
        job.gates.push(gate);
        if others {
            return self.show_one(&service);
        }
        self.advance_reload().await;
        self.next_reload().await;
    }
}

#[cfg(test)]
#[path = "reload_job_tests.rs"]
mod tests;
