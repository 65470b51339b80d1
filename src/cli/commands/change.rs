//! What switch, rollback and deploy have in common: conditions, waiting, and the answer to a change.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;
use serde::Serialize;

use crate::{
    api::{ChangeOutcome, ChangeReply, WaitFor},
    cli::{
        args,
        client::Answer,
        error::CliError,
        exit::ExitCode,
        follow::{Following, follow},
        page::{Page, Style},
        progress::Watched,
        render,
        session::Session,
    },
    ids::ServiceName,
};

/// Conditions of a change, and what to wait for.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ChangeArgs {
    /// Refuse unless the service is at this generation.
    #[arg(long, value_name = "N")]
    pub if_generation: Option<u64>,
    /// Move traffic although the gate fails; needs a --reason, which the journal records.
    #[arg(long)]
    pub force: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Cancel another change of this service whose gate still runs, and take its place.
    #[arg(long)]
    pub supersede: bool,
    /// Wait until traffic has moved, or the gate has failed; this is the default.
    #[arg(long)]
    pub wait: bool,
    /// Do not wait, not even for the gate: it goes on in the background.
    #[arg(long, conflicts_with_all = ["wait", "wait_drained"])]
    pub no_wait: bool,
    #[command(flatten)]
    pub waiting: WaitArgs,
}

impl ChangeArgs {
    /// Who overrules a gate must say why.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let blank = self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty());
        if self.force && blank {
            let why = "--force overrules the gate, and the journal must say why; add --reason TEXT";
            return Err(CliError::Usage(why.to_owned()));
        }
        Ok(())
    }

    pub(super) fn wait_for(&self) -> Option<WaitFor> {
        match (self.no_wait, self.wait) {
            (true, _) => Some(WaitFor::None),
            (false, wait) => self.waiting.wait().or(wait.then_some(WaitFor::Switched)),
        }
    }

    /// Asks for the change and shows how it goes on; its ending.
    pub(super) async fn carry_out<B: Serialize>(
        &self,
        path: &str,
        request: &B,
        gate: Watched,
        session: &mut Session<'_>,
    ) -> Result<ExitCode, CliError> {
        let client = session.client();
        let work = client.change(Method::POST, path, Some(request), self.waiting.time());
        let answer = if self.no_wait {
            work.await?
        } else {
            session.goes_on = Some(change_goes_on(&gate.service));
            self.waiting.announce(session);
            follow(session, Following { gate, drain: self.waiting.drain_time() }, work).await?
        };
        conclude(&answer, &self.waiting, self.no_wait, session)
    }
}

/// What an interrupted command leaves behind while a gate runs.
pub(super) fn change_goes_on(service: &ServiceName) -> String {
    format!(
        "the proxy goes on with it; to see how it stands: verdigris status {service}; to stop it while its gate runs: \
         verdigris cancel {service}"
    )
}

/// Whether to wait for the drain of the slot that served before.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct WaitArgs {
    /// Wait until nothing runs any more on the slot that served before.
    #[arg(long)]
    pub wait_drained: bool,
    /// How long to wait for that, such as 90s or 10m; without it, 10m.
    #[arg(long, value_name = "TIME", value_parser = args::duration, requires = "wait_drained")]
    pub timeout: Option<Duration>,
}

impl WaitArgs {
    pub(super) fn wait(&self) -> Option<WaitFor> {
        self.wait_drained.then_some(WaitFor::Drained)
    }

    pub(super) fn timeout_text(&self) -> Option<String> {
        self.drain_time().map(render::duration)
    }

    /// Tells a person why no prompt comes back.
    pub(super) fn announce(&self, session: &mut Session<'_>) {
        if let Some(time) = self.drain_time() {
            let time = render::duration(time);
            session.progress(&format!("waiting up to {time} for the slot that served before to drain"));
        }
    }

    /// How long the drain may take; nothing if nobody waits for it.
    pub(super) fn drain_time(&self) -> Option<Duration> {
        self.wait_drained.then(|| self.timeout.unwrap_or(TIMEOUT_DEFAULT))
    }

    /// How long the admin API may take over it.
    pub(super) fn time(&self) -> Duration {
        self.drain_time().unwrap_or_default()
    }
}

/// Shows the answer to a change and ends with the code for it.
pub(super) fn conclude(
    answer: &Answer<ChangeReply>,
    waiting: &WaitArgs,
    no_wait: bool,
    session: &mut Session<'_>,
) -> Result<ExitCode, CliError> {
    session.show(answer, |page, reply| draw(page, reply, waiting.wait_drained))?;
    if answer.value.outcome == ChangeOutcome::UnderWay {
        // Who waited wanted more than to hear that it goes on.
        return Ok(if no_wait { ExitCode::Done } else { ExitCode::Failed });
    }
    let unsafe_still = answer.value.drain.as_ref().is_some_and(|drain| !drain.safe_to_delete);
    let late = waiting.wait_drained && (unsafe_still || answer.status == STATUS_UNDER_WAY);
    Ok(if late { ExitCode::NotDrained } else { ExitCode::Done })
}

fn draw(page: &mut Page, reply: &ChangeReply, waited: bool) {
    page.paint(Style::Strong, &reply.message);
    page.end();
    if reply.outcome == ChangeOutcome::UnderWay {
        let service = &reply.service;
        page.line(format!("hint: to see how it stands: verdigris status {service}"));
        page.line(format!("hint: what became of it: verdigris history {service}"));
        return page.line(format!("hint: to stop it while its gate runs: verdigris cancel {service}"));
    }
    if reply.forced {
        page.paint(Style::Warning, "The gate failed and was overruled; the journal has it.");
        page.end();
        reply.gate.iter().for_each(|report| render::gate(page, report));
    }
    let Some(drain) = &reply.drain else { return };
    let old = reply.active.other();
    render::drain(page, old, drain);
    if !drain.safe_to_delete {
        let (service, time) =
            (&reply.service, if waited { "not drained in time; to wait on" } else { "to wait for it" });
        page.line(format!("hint: {time}: verdigris drain {service} {old} --wait"));
    }
}

pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
const STATUS_UNDER_WAY: u16 = 202;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    fn text(reply: &ChangeReply, waited: bool) -> String {
        let mut page = Page::new(false);
        draw(&mut page, reply, waited);
        page.into_text()
    }

    #[test]
    fn a_switch_is_a_sentence_and_a_drain() {
        let mut reply = samples::switched();
        assert_eq!(
            text(&reply, false),
            "iris: switched to green, generation 8\n\
             blue: not safe to delete: 2 requests still running, the oldest for 1s\n\
             hint: to wait for it: verdigris drain iris blue --wait\n"
        );
        reply.drain = Some(samples::drained());
        assert_eq!(
            text(&reply, true),
            "iris: switched to green, generation 8\n\
             blue: safe to delete: nothing runs on the slot and nothing new can start there\n"
        );
    }

    #[test]
    fn a_forced_switch_shows_what_was_overruled() {
        let reply = ChangeReply { forced: true, gate: Some(samples::gate(false)), drain: None, ..samples::switched() };
        assert_eq!(
            text(&reply, false),
            "iris: switched to green, generation 8\n\
             The gate failed and was overruled; the journal has it.\n\
             \x20 readiness failed (5ms)\n\
             \x20   http://127.0.0.1:9002: connection refused (1 ms)\n"
        );
    }
}
