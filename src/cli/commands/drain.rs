//! `verdigris drain`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;
use tokio::time::{Instant, sleep_until};

use super::{change::TIMEOUT_DEFAULT, slot_path};
use crate::{
    api::{DrainRequest, DrainStatus, Problem, ProblemKind},
    cli::{args, client::Answer, error::CliError, exit::ExitCode, render, session::Session},
    ids::{ServiceName, Slot},
};

/// Tell whether a slot is safe to delete, and wait for it.
///
/// Exit code 0 means that it is safe to delete; 3 that it is not, or not in time; 2 that --wait would be in vain,
/// because the slot is active and nothing moves traffic away from it, or because it takes previews.
#[derive(Clone, Debug, ClapArgs)]
pub struct DrainArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot, blue or green.
    pub slot: Slot,
    /// Wait until the slot is safe to delete.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, such as 90s or 10m; without it, 10m.
    #[arg(long, value_name = "TIME", value_parser = args::duration, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Cut what still runs after this long (0s: now); its clients see it.
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    pub cut_after: Option<Duration>,
}

pub(in crate::cli) async fn run(args: &DrainArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let mut answer = ask(args, session).await?;
    if args.wait {
        answer = wait(args, answer, session).await?;
    }
    session.show(&answer, |page, status| render::drain(page, args.slot, status))?;
    Ok(if answer.value.safe_to_delete { ExitCode::Done } else { ExitCode::NotDrained })
}

/// The first question: cut if that was asked for, or just look.
async fn ask(args: &DrainArgs, session: &Session<'_>) -> Result<Answer<DrainStatus>, CliError> {
    let path = path(args);
    match args.cut_after {
        None => session.client.look(&path, Duration::ZERO).await,
        Some(after) => {
            let request = DrainRequest { cut_after: Some(render::duration(after)) };
            session.client.change(Method::POST, &path, Some(&request), after).await
        }
    }
}

/// Asks again, each time letting the admin API wait a while, until the slot is safe to delete or time is up.
async fn wait(
    args: &DrainArgs,
    mut answer: Answer<DrainStatus>,
    session: &mut Session<'_>,
) -> Result<Answer<DrainStatus>, CliError> {
    let deadline = Instant::now() + args.timeout.unwrap_or(TIMEOUT_DEFAULT);
    let mut told = String::new();
    while !answer.value.safe_to_delete && Instant::now() < deadline {
        if answer.value.serves_on {
            return Err(serves_on(args));
        }
        if answer.value.takes_previews {
            return Err(takes_previews(args));
        }
        if told != answer.value.why {
            told.clone_from(&answer.value.why);
            session.progress(&format!("{}: waiting: {told}", args.slot));
        }
        let asked = Instant::now();
        let round = deadline.saturating_duration_since(asked).min(ROUND);
        answer = session.client.look(&format!("{}?wait={}", path(args), query_time(round)), round).await?;
        if !answer.value.safe_to_delete {
            // An admin API that does not wait must not be asked without pause.
            sleep_until((asked + ROUND_MIN).min(deadline)).await;
        }
    }
    Ok(answer)
}

/// To wait for a slot that goes on serving would be to wait for ever.
fn serves_on(args: &DrainArgs) -> CliError {
    let message = format!("slot {} of service {} is active; it drains only after a switch", args.slot, args.service);
    let hint = format!("switch to {} first: verdigris switch {}", args.slot.other(), args.service);
    let problem = Box::new(Problem::new(ProblemKind::Refused, message).hint(hint));
    CliError::Problem { json: serde_json::to_string_pretty(&problem).unwrap_or_default(), problem }
}

/// Nor does a slot that callers may choose.
fn takes_previews(args: &DrainArgs) -> CliError {
    let message =
        format!("slot {} of service {} stands by and takes previews; it does not drain", args.slot, args.service);
    let hint = "empty the slot first: PUT /v1/services/SERVICE/slots/SLOT with `{\"endpoints\": []}`";
    let problem = Box::new(Problem::new(ProblemKind::Refused, message).hint(hint));
    CliError::Problem { json: serde_json::to_string_pretty(&problem).unwrap_or_default(), problem }
}

fn path(args: &DrainArgs) -> String {
    format!("{}/drain", slot_path(&args.service, args.slot))
}

/// Whole seconds, or milliseconds (never zero of them): a query takes no blank between two units.
fn query_time(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis().max(1)) }
}

/// Short enough for whatever stands between us and the admin API.
const ROUND: Duration = Duration::from_secs(30);
const ROUND_MIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_no_blank() {
        assert_eq!(query_time(ROUND), "30s");
        assert_eq!(query_time(Duration::from_micros(1_999_999)), "1999ms");
        assert_eq!(query_time(Duration::from_nanos(1)), "1ms");
    }
}
