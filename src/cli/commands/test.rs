//! `verdigris test`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;

use super::slot_path;
use crate::{
    api::TestReply,
    cli::{
        client::{Answer, Client},
        error::CliError,
        exit::ExitCode,
        page::{Page, Style},
        render,
        session::Session,
    },
    ids::{ServiceName, Slot},
};

/// Run a slot's gate and show its evidence; no traffic moves.
#[derive(Clone, Debug, ClapArgs)]
pub struct TestArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot, blue or green.
    pub slot: Slot,
}

pub(in crate::cli) async fn run(args: &TestArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let answer = ask(&session.client, &args.service, args.slot).await?;
    conclude(&answer, session)
}

/// Has the slot's gate run.
pub(super) async fn ask(client: &Client, service: &ServiceName, slot: Slot) -> Result<Answer<TestReply>, CliError> {
    let path = format!("{}/test", slot_path(service, slot));
    client.change(Method::POST, &path, None::<&()>, Duration::ZERO).await
}

/// Shows what the gate saw and ends with the code for it.
pub(super) fn conclude(answer: &Answer<TestReply>, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    session.show(answer, draw)?;
    Ok(if answer.value.gate.passed { ExitCode::Done } else { ExitCode::Refused })
}

fn draw(page: &mut Page, reply: &TestReply) {
    let (style, word) = if reply.gate.passed { (Style::Good, "passed") } else { (Style::Bad, "failed") };
    page.add(format!("{}: the gate of {} ", reply.service, reply.slot));
    page.paint(style, word);
    page.end();
    render::gate(page, &reply.gate);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    #[test]
    fn a_gate_with_its_evidence() {
        let mut page = Page::new(false);
        draw(&mut page, &samples::tested(true));
        assert_eq!(
            page.into_text(),
            "iris: the gate of green passed\n  readiness passed (5ms)\n    http://127.0.0.1:9002: 200 (1 ms)\n"
        );
    }
}
