//! `verdigris switch`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;

use super::{change::ChangeArgs, dry_run, service_path};
use crate::{
    api::{GatePurpose, SwitchRequest},
    cli::{error::CliError, exit::ExitCode, progress::Watched, session::Session},
    ids::{ServiceName, Slot},
};

/// Move a service's traffic to the other slot, once it has passed its gate.
#[derive(Clone, Debug, ClapArgs)]
pub struct SwitchArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot to switch to, blue or green; without it, the other one.
    #[arg(long, value_name = "SLOT")]
    pub to: Option<Slot>,
    /// Only say what it would do: the gate's steps, what is open on the slot that serves now, and the way back.
    #[arg(long, conflicts_with_all = ["wait", "no_wait", "wait_drained"])]
    pub dry_run: bool,
    #[command(flatten)]
    pub change: ChangeArgs,
}

pub(in crate::cli) async fn run(args: &SwitchArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let change = &args.change;
    change.check()?;
    let request = SwitchRequest {
        to: args.to,
        if_generation: change.if_generation,
        force: change.force,
        dry_run: args.dry_run,
        supersede: change.supersede,
        reason: change.reason.clone(),
        wait: change.wait_for(),
        timeout: change.waiting.timeout_text(),
    };
    let path = format!("{}/switch", service_path(&args.service));
    if args.dry_run {
        let answer = session.client.change(Method::POST, &path, Some(&request), Duration::ZERO).await?;
        return dry_run::conclude(&answer, session);
    }
    let gate = Watched { service: args.service.clone(), slot: args.to, purpose: GatePurpose::Switch };
    change.carry_out(&path, &request, gate, session).await
}
