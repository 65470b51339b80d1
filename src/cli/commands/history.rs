//! `verdigris history`.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::service_path;
use crate::{
    api::{Action, GateReport, History, HistoryEntry, Outcome, SlotContents, StepResult},
    cli::{
        error::CliError,
        exit::ExitCode,
        page::{Cell, Page, Style},
        render,
        session::Session,
    },
    ids::ServiceName,
};

/// Show what changed: when, what, who and why, the newest first.
#[derive(Clone, Debug, ClapArgs)]
pub struct HistoryArgs {
    /// The service's name.
    pub service: ServiceName,
    /// How many entries.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Also show the endpoints that were put into slots.
    #[arg(long)]
    pub wide: bool,
    /// Also show what each gate saw.
    #[arg(long)]
    pub gates: bool,
}

pub(in crate::cli) async fn run(args: &HistoryArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let path = format!("{}/history?limit={}", service_path(&args.service), args.limit);
    let answer = session.client.look(&path, Duration::ZERO).await?;
    session.show(&answer, |page, history| {
        draw(page, history, args.wide);
        if args.gates {
            draw_gates(page, history);
        }
    })?;
    Ok(ExitCode::Done)
}

const HEADER: [&str; 10] =
    ["TIME", "ACTION", "SLOTS", "GENERATION", "ACTOR", "VERSION", "RESULT", "GATE", "REASON", "ENDPOINTS"];

fn draw(page: &mut Page, history: &History, wide: bool) {
    if history.entries.is_empty() {
        return page.line("No entries.");
    }
    let columns = if wide { HEADER.len() } else { HEADER.len() - 1 };
    let rows = history.entries.iter().map(|entry| row(entry).into_iter().take(columns).collect());
    page.table(0, &HEADER[..columns], &rows.collect::<Vec<_>>());
}

/// Each gate with its evidence, behind the change that it belongs to.
fn draw_gates(page: &mut Page, history: &History) {
    for entry in &history.entries {
        let Some(report) = &entry.gate else { continue };
        page.end();
        page.line(format!("{} {} {}, generation {}:", entry.at, action(entry.action), slots(entry), entry.generation));
        render::gate(page, report);
    }
}

fn row(entry: &HistoryEntry) -> [Cell; HEADER.len()] {
    [
        Cell::plain(&entry.at),
        Cell::plain(action(entry.action)),
        Cell::plain(slots(entry)),
        Cell::plain(entry.generation.to_string()),
        Cell::plain(&entry.actor),
        Cell::plain(entry.version.as_deref().unwrap_or("-")),
        result(entry),
        gate(entry.gate.as_ref()),
        Cell::plain(entry.reason.as_deref().unwrap_or_default()),
        Cell::plain(entry.contents.iter().map(put_in).collect::<Vec<_>>().join("; ")),
    ]
}

/// `readiness, golden passed`, or `golden failed`; what was skipped proves nothing.
fn gate(report: Option<&GateReport>) -> Cell {
    let Some(report) = report else { return Cell::new(Style::Faint, "-") };
    if let Some((step, _)) = render::first_failure(report) {
        return Cell::new(Style::Bad, format!("{step} failed"));
    }
    let passed = report.steps.iter().filter(|step| step.result == StepResult::Pass);
    let names: Vec<_> = passed.map(|step| step.name.as_str()).collect();
    let text = if names.is_empty() { "nothing was asked".to_owned() } else { format!("{} passed", names.join(", ")) };
    Cell::new(Style::Good, text)
}

fn put_in(contents: &SlotContents) -> String {
    let endpoints: Vec<_> = contents.endpoints.iter().map(ToString::to_string).collect();
    let endpoints = if endpoints.is_empty() { "emptied".to_owned() } else { endpoints.join(", ") };
    format!("{}: {endpoints}", contents.slot)
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Switch => "switch",
        Action::Rollback => "rollback",
        Action::Slot => "slot",
        Action::Added => "added",
        Action::Removed => "removed",
        Action::Settings => "settings",
        Action::Cut => "cut",
    }
}

fn slots(entry: &HistoryEntry) -> String {
    match (entry.from, entry.to) {
        (Some(from), Some(to)) if from != to => format!("{from} \u{2192} {to}"),
        (_, Some(slot)) | (Some(slot), None) => slot.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn result(entry: &HistoryEntry) -> Cell {
    match entry.outcome {
        Outcome::Refused => Cell::new(Style::Bad, "refused"),
        Outcome::Done if entry.forced => Cell::new(Style::Warning, "forced"),
        Outcome::Done => Cell::new(Style::Good, "done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    fn text(history: &History) -> String {
        drawn(history, false)
    }

    fn drawn(history: &History, wide: bool) -> String {
        let mut page = Page::new(false);
        draw(&mut page, history, wide);
        page.into_text()
    }

    #[test]
    fn wide_shows_what_was_put_into_slots() {
        let page = drawn(&samples::history(), true);
        let lines: Vec<_> = page.lines().collect();
        assert!(lines[0].contains("REASON ") && lines[0].ends_with(" ENDPOINTS"), "{page}");
        assert!(lines[1].ends_with("weekly model"), "{page}");
        assert!(lines[3].ends_with("  blue: http://a:1, http://a:2 + h2c://a:3; green: emptied"), "{page}");
    }

    #[test]
    fn a_table_newest_first() {
        assert_eq!(
            text(&samples::history()),
            "TIME                      ACTION  SLOTS         GENERATION  ACTOR             VERSION     RESULT   GATE              REASON\n\
             2026-11-01T12:00:02.000Z  switch  blue \u{2192} green  9           cli alice         2026-12-01  forced   readiness failed  weekly model\n\
             2026-11-01T12:00:01.000Z  switch  blue \u{2192} green  8           api 127.0.0.1     2026-11-01  refused  readiness failed  the gate failed\n\
             2026-11-01T12:00:00.000Z  added   -             8           file config.toml  -           done     -\n"
        );
    }

    /// Fails when: a gate's steps or its evidence are not to be had.
    #[test]
    fn gates_show_their_evidence() {
        let mut history = samples::history();
        history.entries[0].gate = Some(samples::gate(true));
        assert!(text(&history).contains("  forced   readiness passed  weekly"), "{}", text(&history));
        let mut page = Page::new(false);
        draw_gates(&mut page, &history);
        assert_eq!(
            page.into_text(),
            "\n2026-11-01T12:00:02.000Z switch blue \u{2192} green, generation 9:\n  readiness passed (5ms)\n\
             \x20   http://127.0.0.1:9002: 200 (1 ms)\n\
             \n2026-11-01T12:00:01.000Z switch blue \u{2192} green, generation 8:\n  readiness failed (5ms)\n\
             \x20   http://127.0.0.1:9002: connection refused (1 ms)\n"
        );
    }

    #[test]
    fn no_entries_are_said() {
        assert_eq!(text(&History { entries: vec![] }), "No entries.\n");
    }
}
