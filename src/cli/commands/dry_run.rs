//! What a switch would do: the answer to `verdigris switch --dry-run`.

use crate::{
    api::DryRun,
    cli::{
        client::Answer,
        error::CliError,
        exit::ExitCode,
        page::{Cell, Page, Style},
        render,
        session::Session,
    },
};

/// Shows it; a switch that would be refused before its gate ends as the refusal itself would.
pub(super) fn conclude(answer: &Answer<DryRun>, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    session.show(answer, draw)?;
    Ok(if answer.value.refused.is_none() { ExitCode::Done } else { ExitCode::Refused })
}

fn draw(page: &mut Page, dry: &DryRun) {
    page.paint(Style::Strong, &dry.message);
    page.end();
    if let Some(refused) = dry.refused.as_ref().filter(|refused| !dry.message.contains(*refused)) {
        page.paint(Style::Bad, "would be refused: ");
        page.line(refused);
    }
    if !dry.steps.is_empty() {
        page.line(format!("The gate of {} would be:", dry.to));
        let rows: Vec<_> =
            dry.steps.iter().map(|step| vec![Cell::new(Style::Strong, &step.name), Cell::plain(&step.what)]).collect();
        page.table(2, &["STEP", "WHAT"], &rows);
    }
    if dry.active != dry.to {
        page.line(format!("Open on {}, and would drain: {}", dry.active, render::drain_left(&dry.drain)));
        draw_rollback(page, dry);
    }
    page.line("No server was asked for anything, and nothing changed.");
}

fn draw_rollback(page: &mut Page, dry: &DryRun) {
    page.add("Rollback afterwards: ");
    match (dry.rollback.to, dry.rollback.instant) {
        (Some(slot), true) => page.paint(Style::Good, format!("to {slot}, instant")),
        (Some(slot), false) => page.paint(Style::Warning, format!("to {slot}, not instant")),
        (None, _) => page.paint(Style::Warning, "none"),
    }
    page.line(format!(": {}", dry.rollback.why));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    fn text(dry: &DryRun) -> String {
        let mut page = Page::new(false);
        draw(&mut page, dry);
        page.into_text()
    }

    /// Fails when: steps, the old slot's work or the way back are not told.
    #[test]
    fn everything_that_would_happen_is_told() {
        assert_eq!(
            text(&samples::dry_run(None)),
            "iris: would switch from blue to green\n\
             The gate of green would be:\n\
             \x20 STEP       WHAT\n\
             \x20 readiness  every endpoint, 3 times in a row\n\
             \x20 warm_up    skipped: not configured\n\
             Open on blue, and would drain: 2 in flight (2 requests), the oldest for 1s\n\
             Rollback afterwards: to blue, instant: 1 of 1 endpoints of blue healthy\n\
             No server was asked for anything, and nothing changed.\n"
        );
        let refused = text(&samples::dry_run(Some("slot green has no endpoints")));
        assert!(refused.contains("\nwould be refused: slot green has no endpoints\n"), "{refused}");
    }
}
