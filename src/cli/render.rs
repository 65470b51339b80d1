//! What several commands show: problems, gates, drains, times.

use std::time::Duration;

use super::{
    error::CliError,
    exit::ExitCode,
    page::{Page, Style},
};
use crate::{
    api::{DrainStatus, EndpointSpec, GateReport, GateStep, InFlight, Problem, RunningStep, StepResult},
    ids::Slot,
};

/// An error, with everything that the admin API had to say about it.
pub(super) fn error(page: &mut Page, error: &CliError) {
    let word = match error.exit_code() {
        ExitCode::Refused => "refused",
        ExitCode::Conflict => "conflict",
        ExitCode::Usage => "usage",
        ExitCode::Done | ExitCode::Failed | ExitCode::NotDrained | ExitCode::Unreachable => "error",
    };
    page.paint(Style::Bad, format!("{word}: "));
    page.line(error.to_string());
    if let CliError::Problem { problem, .. } = error {
        problem_details(page, problem);
    }
}

fn problem_details(page: &mut Page, problem: &Problem) {
    for line in &problem.problems {
        page.line(format!("  {line}"));
    }
    if let Some(report) = &problem.gate {
        gate(page, report);
    }
    if let Some(generation) = problem.generation {
        page.line(format!("  generation now: {generation}"));
    }
    if let Some(hint) = &problem.hint {
        page.line(format!("hint: {hint}"));
    }
}

/// A gate's steps, each with its evidence.
pub(super) fn gate(page: &mut Page, report: &GateReport) {
    for step in &report.steps {
        gate_step(page, step);
        for line in &step.evidence {
            page.line(format!("    {line}"));
        }
    }
}

/// `  golden passed (2s)`.
pub(super) fn gate_step(page: &mut Page, step: &GateStep) {
    let (style, word) = step_result(step.result);
    page.add(format!("  {} ", step.name));
    page.paint(style, word);
    page.line(format!(" ({})", short_time(step.took_ms)));
}

pub(super) fn step_result(result: StepResult) -> (Style, &'static str) {
    match result {
        StepResult::Pass => (Style::Good, "passed"),
        StepResult::Fail => (Style::Bad, "failed"),
        StepResult::Skipped => (Style::Faint, "skipped"),
    }
}

/// `golden: 12 of 60 golden requests`.
pub(super) fn running(step: &RunningStep) -> String {
    step.detail.as_ref().map_or_else(|| step.name.clone(), |detail| format!("{}: {detail}", step.name))
}

/// The first thing that a failed gate saw go wrong, behind the name of its step.
pub(super) fn first_failure(report: &GateReport) -> Option<(&str, &str)> {
    let step = report.steps.iter().find(|step| step.result == StepResult::Fail)?;
    Some((&step.name, step.evidence.first().map_or("", String::as_str)))
}

/// How a slot's drain stands, in one line.
pub(super) fn drain(page: &mut Page, slot: Slot, status: &DrainStatus) {
    page.add(format!("{slot}: "));
    drain_verdict(page, status);
}

/// The same behind what the caller has already put on the line.
pub(super) fn drain_verdict(page: &mut Page, status: &DrainStatus) {
    let (style, verdict) =
        if status.safe_to_delete { (Style::Good, "safe to delete") } else { (Style::Warning, "not safe to delete") };
    page.paint(style, verdict);
    page.line(drain_facts(status));
}

/// `: 2 requests still running, the oldest for 12s; 1 cut`. The reason has the counts in it.
fn drain_facts(status: &DrainStatus) -> String {
    let mut text = format!(": {}", status.why);
    if let Some(oldest) = status.oldest_ms {
        text.push_str(&format!(", the oldest for {}", short_time(oldest)));
    }
    if status.cut > 0 {
        text.push_str(&format!("; {} cut", status.cut));
    }
    text
}

/// `3 in flight (2 requests, 1 stream), the oldest for 12s`.
pub(super) fn drain_left(status: &DrainStatus) -> String {
    let mut text = in_flight(&status.in_flight);
    if let Some(oldest) = status.oldest_ms {
        text.push_str(&format!(", the oldest for {}", short_time(oldest)));
    }
    text
}

/// `3 in flight (2 requests, 1 stream)`.
pub(super) fn in_flight(count: &InFlight) -> String {
    let kinds = [(count.unary, "request"), (count.stream, "stream"), (count.tunnel, "tunnel")];
    let present = kinds.into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = present.map(|(number, word)| counted(number, word)).collect();
    if words.is_empty() {
        format!("{} in flight", count.total)
    } else {
        format!("{} in flight ({})", count.total, words.join(", "))
    }
}

/// `1 stream`, `2 streams`.
pub(super) fn counted(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Time in at most two units: `350ms`, `12s`, `3m 5s`, `2h 10m`, `4d 2h`.
pub(super) fn short_time(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds == 0 => format!("{ms}ms"),
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m {}s", seconds % 60),
        () if days == 0 => format!("{hours}h {}m", minutes % 60),
        () => format!("{days}d {}h", hours % 24),
    }
}

/// A duration as the admin API reads it.
pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// An endpoint as it would be typed.
pub(super) fn endpoint(http: Option<&str>, grpc: Option<&str>) -> String {
    match (http, grpc) {
        (Some(http), Some(grpc)) => format!("{http} (gRPC {grpc})"),
        (Some(http), None) => http.to_owned(),
        (None, Some(grpc)) => format!("gRPC {grpc}"),
        (None, None) => "-".to_owned(),
    }
}

/// The same, for what is about to be sent.
pub(super) fn endpoint_spec(spec: &EndpointSpec) -> String {
    match spec {
        EndpointSpec::Url(url) => url.clone(),
        EndpointSpec::Pair { http, grpc } => endpoint(http.as_deref(), grpc.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProblemKind;

    fn text(draw: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(false);
        draw(&mut page);
        page.into_text()
    }

    #[test]
    fn times_have_two_units() {
        for (ms, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (12_345, "12s"),
            (185_000, "3m 5s"),
            (7_800_000, "2h 10m"),
            (352_800_000, "4d 2h"),
        ] {
            assert_eq!(short_time(ms), expected);
        }
    }

    #[test]
    fn a_refusal_shows_its_evidence() {
        let step = GateStep {
            name: "readiness".into(),
            result: StepResult::Fail,
            evidence: vec!["http://127.0.0.1:9002: connection refused (1 ms)".into()],
            took_ms: 2,
        };
        let mut problem = Problem::new(ProblemKind::Refused, "the gate of slot green failed").hint("look at its log");
        problem.gate = Some(GateReport { passed: false, steps: vec![step] });
        let refused = CliError::Problem { problem: Box::new(problem), json: String::new() };
        assert_eq!(
            text(|page| error(page, &refused)),
            "refused: the gate of slot green failed\n  readiness failed (2ms)\n    http://127.0.0.1:9002: connection \
             refused (1 ms)\nhint: look at its log\n"
        );
    }

    #[test]
    fn a_conflict_shows_the_generation() {
        let mut problem = Problem::new(ProblemKind::GenerationDiffers, "iris is at another generation");
        problem.generation = Some(9);
        let conflict = CliError::Problem { problem: Box::new(problem), json: String::new() };
        assert_eq!(
            text(|page| error(page, &conflict)),
            "conflict: iris is at another generation\n  generation now: 9\n"
        );
    }

    #[test]
    fn a_drain_is_one_line() {
        let in_flight = InFlight { unary: 2, stream: 1, tunnel: 0, total: 3 };
        let running = DrainStatus {
            in_flight,
            oldest_ms: Some(12_000),
            cut: 1,
            safe_to_delete: false,
            serves_on: false,
            takes_previews: false,
            why: "2 requests, 1 stream still running".into(),
        };
        assert_eq!(
            text(|page| drain(page, Slot::Blue, &running)),
            "blue: not safe to delete: 2 requests, 1 stream still running, the oldest for 12s; 1 cut\n"
        );
        let over = DrainStatus { safe_to_delete: true, why: "nothing runs".into(), ..DrainStatus::default() };
        assert_eq!(text(|page| drain(page, Slot::Blue, &over)), "blue: safe to delete: nothing runs\n");
    }
}
