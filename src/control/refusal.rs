//! Refusals in words: what, where, and what to do.

use super::under_way::{Preparing, in_words};
use crate::{
    api::{GateReport, Problem, ProblemKind, StepResult},
    ids::{Generation, ServiceName},
    switch::{Change, Refusal},
};

/// What a refusal is to be told with.
#[derive(Debug, Default)]
pub(super) struct Circumstances {
    pub(super) generation: Generation,
    pub(super) gate: Option<GateReport>,
    /// What was refused, if its gate ran.
    pub(super) change: Option<Change>,
    /// Who or what ended it, if its gate's verdict did not.
    pub(super) ended_by: Option<String>,
    /// What it would have to wait for.
    pub(super) under_way: Option<Preparing>,
}

/// The problem to answer with.
pub(super) fn problem(service: &ServiceName, refusal: Refusal, circumstances: Circumstances) -> Problem {
    let Circumstances { generation, gate, change, ended_by, under_way } = circumstances;
    let mut problem = match refusal {
        Refusal::GenerationDiffers => Problem::new(
            ProblemKind::GenerationDiffers,
            format!("service {service} is at generation {generation}, not at the one you gave"),
        )
        .hint("someone else changed it; look at its status and history, then decide again"),
        Refusal::Busy => busy(service, under_way.as_ref()),
        Refusal::Cancelled | Refusal::Superseded => {
            let what = change.map_or_else(|| "change".to_owned(), in_words);
            let ended_by = ended_by.unwrap_or_else(|| "cancelled".to_owned());
            Problem::new(ProblemKind::Cancelled, format!("service {service}: {what}: {ended_by}; nothing changed"))
                .hint("look at its status, then ask again if it is still wanted")
        }
        Refusal::Revised => Problem::new(
            ProblemKind::Cancelled,
            format!("the config file changed service {service} while this change was being prepared"),
        )
        .hint("look at its status, then ask again if it is still wanted"),
        Refusal::Empty(slot) => {
            Problem::new(ProblemKind::Refused, format!("slot {slot} of service {service} has no endpoints"))
                .hint(format!("deploy to it first: verdigris deploy {service} {slot} --endpoint URL"))
        }
        Refusal::NothingToRollBackTo => Problem::new(
            ProblemKind::Refused,
            format!("service {service} has no slot to roll back to: none that served before still stands as it was"),
        )
        .hint("use switch to move traffic to the other slot"),
        Refusal::WouldEmptyActive(slot) => Problem::new(
            ProblemKind::Refused,
            format!("slot {slot} of service {service} is active; it cannot be emptied"),
        )
        .hint(format!("switch to {} first", slot.other())),
        Refusal::GateFailed(slot) => {
            let why = gate.as_ref().map_or_else(|| "is not ready".to_owned(), verdict);
            Problem::new(ProblemKind::Refused, format!("slot {slot} of service {service} {why}"))
                .hint("nothing changed; mend the slot and ask again, or overrule the gate with force")
        }
        Refusal::JournalFailed => Problem::new(
            ProblemKind::Internal,
            format!("the journal could not be written, so service {service} was not changed"),
        )
        .hint("look at the log for the reason; check the disk that holds state.dir"),
    };
    problem.gate = gate;
    problem.generation = (refusal == Refusal::GenerationDiffers).then_some(generation.0);
    problem
}

fn busy(service: &ServiceName, under_way: Option<&Preparing>) -> Problem {
    let what = under_way.map(|one| format!(": {}", one.in_full())).unwrap_or_default();
    Problem::new(ProblemKind::Busy, format!("another change of service {service} is under way{what}")).hint(format!(
        "wait for it to end, cancel it (DELETE /v1/services/{service}/change), or ask again with `supersede` to take its \
         place; status shows how far it is"
    ))
}

/// There is nothing to call off, or it cannot be called off.
pub(super) fn not_cancellable(service: &ServiceName, under_way: Option<&Preparing>) -> Problem {
    match under_way {
        None => Problem::new(ProblemKind::Refused, format!("no change of service {service} is under way"))
            .hint("look at its status and history: it may have ended already"),
        Some(one) => {
            let message = format!("service {service}: {} cannot be cancelled", one.in_full());
            Problem::new(ProblemKind::Refused, message).hint(
                "a change is too far on once its gate has passed; a config file's change ends when the file is changed",
            )
        }
    }
}

/// `force` overrules what protects the traffic: the journal must be able to say why.
pub(super) fn reason_missing() -> Problem {
    Problem::new(ProblemKind::Invalid, "reason: `force` overrules the gate and needs a reason for the journal")
        .hint("say why in `reason`; on the command line: --force --reason \"…\"")
}

/// What a failed gate says of its slot: `is not ready: …`, or which step it did not pass.
pub(super) fn verdict(gate: &GateReport) -> String {
    let Some(step) = gate.steps.iter().find(|step| step.result == StepResult::Fail) else {
        return "is not ready".to_owned();
    };
    let verdict = match step.name.as_str() {
        "readiness" => "is not ready".to_owned(),
        "contract" => "does not keep the contract of the active one".to_owned(),
        "golden" => "does not answer its golden requests rightly".to_owned(),
        "warm_up" => "is not warm".to_owned(),
        other => format!("did not pass {other}"),
    };
    let lines: Vec<_> = step.evidence.iter().map(|line| line.trim_start_matches("- ")).collect();
    if lines.is_empty() { verdict } else { format!("{verdict}: {}", lines.join("; ")) }
}

/// No service of that name.
pub(super) fn unknown_service<'a>(name: &str, known: impl Iterator<Item = &'a ServiceName>) -> Problem {
    let known: Vec<_> = known.map(ServiceName::as_str).collect();
    let shown: String = name.chars().take(80).collect();
    let problem = Problem::new(ProblemKind::NotFound, format!("there is no service {shown:?}"));
    if known.is_empty() {
        problem.hint("the config file names no service")
    } else {
        problem.hint(format!("services are: {}", known.join(", ")))
    }
}

/// The controller has ended.
pub(super) fn shutting_down() -> Problem {
    Problem::new(ProblemKind::ShuttingDown, "the proxy is shutting down; nothing can be changed any more")
}
