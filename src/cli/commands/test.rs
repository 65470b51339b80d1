//! `verdigris test`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;

use super::slot_path;
use crate::{
    api::{GatePurpose, TestReply, TestRequest},
    cli::{
        client::Answer,
        error::CliError,
        exit::ExitCode,
        follow::{Following, follow},
        page::{Page, Style},
        progress::Watched,
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
    /// Do not wait for the gate: it goes on in the background.
    #[arg(long)]
    pub no_wait: bool,
}

pub(in crate::cli) async fn run(args: &TestArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    if args.no_wait {
        let request = TestRequest { background: true };
        let path = path(&args.service, args.slot);
        let answer = session.client.change(Method::POST, &path, Some(&request), Duration::ZERO).await?;
        return conclude(&answer, true, session);
    }
    session.goes_on = Some(format!(
        "the gate ends with this command; one that goes on without it: verdigris test {} {} --no-wait",
        args.service, args.slot
    ));
    let answer = ask(&args.service, args.slot, session).await?;
    conclude(&answer, false, session)
}

/// Has the slot's gate run, and shows how it goes on.
pub(super) async fn ask(
    service: &ServiceName,
    slot: Slot,
    session: &mut Session<'_>,
) -> Result<Answer<TestReply>, CliError> {
    let client = session.client();
    let path = path(service, slot);
    let work = client.change(Method::POST, &path, None::<&()>, Duration::ZERO);
    let gate = Watched { service: service.clone(), slot: Some(slot), purpose: GatePurpose::Test };
    follow(session, Following { gate, drain: None }, work).await
}

fn path(service: &ServiceName, slot: Slot) -> String {
    format!("{}/test", slot_path(service, slot))
}

/// Shows what the gate saw and ends with the code for it.
pub(super) fn conclude(
    answer: &Answer<TestReply>,
    no_wait: bool,
    session: &mut Session<'_>,
) -> Result<ExitCode, CliError> {
    session.show(answer, draw)?;
    Ok(match (answer.value.under_way, answer.value.gate.passed) {
        // Who waited wanted more than to hear that it goes on.
        (true, _) if no_wait => ExitCode::Done,
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Done,
        (false, false) => ExitCode::Refused,
    })
}

fn draw(page: &mut Page, reply: &TestReply) {
    let TestReply { service, slot, .. } = reply;
    if reply.under_way {
        page.line(format!("{service}: the gate of {slot} is under way"));
        page.line(format!("hint: to see how it stands, and its end: verdigris status {service}"));
        return page.line(format!("hint: to stop it: verdigris cancel {service} {slot}"));
    }
    let (style, word) = if reply.gate.passed { (Style::Good, "passed") } else { (Style::Bad, "failed") };
    page.add(format!("{service}: the gate of {slot} "));
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
