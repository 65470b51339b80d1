//! Refusals in words: what, where, and what to do.

use crate::{
    api::{GateReport, Problem, ProblemKind, StepResult},
    ids::{Generation, ServiceName},
    switch::Refusal,
};

/// The problem to answer with.
pub(super) fn problem(
    service: &ServiceName,
    refusal: Refusal,
    generation: Generation,
    gate: Option<GateReport>,
) -> Problem {
    let mut problem = match refusal {
        Refusal::GenerationDiffers => Problem::new(
            ProblemKind::GenerationDiffers,
            format!("service {service} is at generation {generation}, not at the one you gave"),
        )
        .hint("someone else changed it; look at its status and history, then decide again"),
        Refusal::Busy => Problem::new(ProblemKind::Busy, format!("another change of service {service} is under way"))
            .hint("wait for it to end; status shows it as pending"),
        Refusal::Superseded => Problem::new(
            ProblemKind::Busy,
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
