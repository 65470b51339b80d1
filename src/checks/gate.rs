//! The gate: its steps in their order, each with its evidence, all of them within one limit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{Instant as Deadline, timeout_at};

use super::{
    connections::{Connect, connections},
    contract::contract,
    golden::Set,
    progress::Progress,
    readiness::readiness,
    rehearsal::rehearse,
    warm_up::warm_up,
};
use crate::{
    api::{GateReport, GateStep, StepResult},
    config::settings::ServiceSettings,
    upstream::Endpoint,
};

/// What a gate looks at.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Those of the slot that is to serve.
    pub endpoints: Vec<Arc<Endpoint>>,
    pub settings: Arc<ServiceSettings>,
    pub demand: Demand,
    /// What `[service.gate]` names, read; `None` if it names none.
    pub golden: Option<Arc<Set>>,
    /// What is sent to warm up; `None` if nothing is.
    pub warm_up: Option<Arc<Set>>,
    /// Those that serve now, whose contract the others have to keep; empty if nothing is to be compared.
    pub active: Vec<Arc<Endpoint>>,
    /// What is to be connected to once everything has passed; `None` if nothing is about to serve.
    pub connect: Option<Connect>,
}

/// What a slot must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Every endpoint passes every step: the slot is to take all traffic with all its replicas.
    EveryEndpoint,
    /// One endpoint is ready, which is what a rollback needs: it must be possible to a slot that is half broken, and it
    /// must be quick. The running probes' word is taken for endpoints that do not answer within a short time, and only
    /// for these: one that refuses, or answers that it is not ready, is believed. Nothing else is asked.
    OneLive,
}

/// What a step has found.
pub(super) struct Finding {
    pub(super) result: StepResult,
    pub(super) evidence: Vec<String>,
}

impl Finding {
    pub(super) fn of(passed: bool, evidence: Vec<String>) -> Self {
        Self { result: if passed { StepResult::Pass } else { StepResult::Fail }, evidence }
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { result: StepResult::Skipped, evidence: vec![why.into()] }
    }
}

/// Runs the gate: readiness, then the contract, the golden requests and the warm-up, as far as they are configured. After
/// a step that fails the others are skipped. A probe that passes counts as proof: the endpoint is healthy from then on.
/// Nothing is sent or waited for after `service.gate.timeout`; the judgement of answers that are there may end a little
/// later. Cancelling the future gives up what runs.
pub async fn run_gate(gate: Gate, progress: &Progress) -> GateReport {
    let limit = gate.settings.gate.timeout.min(LIMIT_MAX);
    let mut run = Run { until: Deadline::now() + limit, limit, steps: Vec::new(), progress };
    run.step("readiness", readiness(&gate)).await;
    if gate.demand == Demand::EveryEndpoint {
        // What is sent ends a little before the limit, so that the report can still say what did not come.
        let until = run.until - (limit / 10).min(REPORT_SPARE);
        match without_contract(&gate) {
            None => run.own_end("contract", contract(&gate, until)).await,
            Some(why) => run.pass_over("contract", why).await,
        }
        match &gate.golden {
            Some(set) => run.own_end("golden", rehearse(&gate, set, until, progress)).await,
            None => run.pass_over("golden", WITHOUT_GOLDEN).await,
        }
        match gate.settings.gate.warm_up.is_zero() {
            false => run.own_end("warm_up", warm_up(&gate, until, progress)).await,
            true => run.pass_over("warm_up", WITHOUT_WARM_UP).await,
        }
    }
    let passed = run.steps.iter().all(|step| step.result != StepResult::Fail);
    if let Some(connect) = gate.connect.as_ref().filter(|_| passed) {
        run.own_end("connections", connections(&gate, connect, run.until)).await;
    }
    GateReport { passed, steps: run.steps }
}

/// A gate that runs.
struct Run<'p> {
    until: Deadline,
    limit: Duration,
    steps: Vec<GateStep>,
    progress: &'p Progress,
}

impl Run<'_> {
    /// Takes a step, unless one before it has failed. It is cut at the limit.
    async fn step(&mut self, name: &str, work: impl Future<Output = Finding>) {
        self.take(name, self.until, work).await;
    }

    /// The same for a step whose requests end by themselves before the limit. What is left then is to judge and to tell what
    /// came, and a busy machine may be late with that: to cut it would tell nothing.
    async fn own_end(&mut self, name: &str, work: impl Future<Output = Finding>) {
        self.take(name, self.until + TELLING_MAX, work).await;
    }

    async fn take(&mut self, name: &str, until: Deadline, work: impl Future<Output = Finding>) {
        let started = Instant::now();
        self.progress.begin(name);
        let failed = self.steps.iter().find(|step| step.result == StepResult::Fail);
        let finding = match failed {
            Some(failed) => Finding::skipped(format!("not asked for, since {} failed", failed.name)),
            None => timeout_at(until, work).await.unwrap_or_else(|_elapsed| self.late()),
        };
        let Finding { result, evidence } = finding;
        let step = GateStep { name: name.to_owned(), result, evidence, took_ms: millis(started.elapsed()) };
        self.progress.end(step.clone());
        self.steps.push(step);
    }

    /// Reports a step that is not configured, or has nothing to do.
    async fn pass_over(&mut self, name: &str, why: &str) {
        self.step(name, async { Finding::skipped(why) }).await;
    }

    fn late(&self) -> Finding {
        let limit = humantime::format_duration(self.limit);
        Finding::of(false, vec![format!("not done within the {limit} of service.gate.timeout")])
    }
}

/// Why there is no contract to keep.
pub(super) fn without_contract(gate: &Gate) -> Option<&'static str> {
    if !gate.settings.gate.contract {
        return Some("service.gate.contract is false");
    }
    gate.active.is_empty().then_some("there is no other slot that serves, to compare with")
}

pub(super) const WITHOUT_GOLDEN: &str = "service.gate.golden names no file";
pub(super) const WITHOUT_WARM_UP: &str = "service.gate.warm_up is zero";

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Far beyond any that makes sense, and within what a clock can be told.
const LIMIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const REPORT_SPARE: Duration = Duration::from_millis(250);
/// Only a defect takes longer.
const TELLING_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: what a step has found is thrown away, because the machine was too busy to tell it before the limit; or a
    /// step that does not end by itself may go on after it.
    #[tokio::test(start_paused = true)]
    async fn what_was_found_in_time_may_be_told_late() {
        let (progress, _seen) = Progress::new();
        let limit = Duration::from_secs(1);
        let mut run = Run { until: Deadline::now() + limit, limit, steps: Vec::new(), progress: &progress };
        let late = async || {
            tokio::time::sleep(limit + Duration::from_millis(500)).await;
            Finding::of(true, vec!["found".to_owned()])
        };
        run.own_end("golden", late()).await;
        run.step("readiness", late()).await;
        let told: Vec<_> = run.steps.iter().map(|step| (step.result, step.evidence[0].as_str())).collect();
        let cut = "not done within the 1s of service.gate.timeout";
        assert_eq!(told, [(StepResult::Pass, "found"), (StepResult::Fail, cut)]);
    }
}
