//! `verdigris switch`.

use clap::Args as ClapArgs;
use http::Method;

use super::{
    change::{ChangeArgs, conclude},
    service_path,
};
use crate::{
    api::SwitchRequest,
    cli::{error::CliError, exit::ExitCode, session::Session},
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
    #[command(flatten)]
    pub change: ChangeArgs,
}

pub(in crate::cli) async fn run(args: &SwitchArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let ChangeArgs { if_generation, force, reason, waiting } = &args.change;
    let request = SwitchRequest {
        to: args.to,
        if_generation: *if_generation,
        force: *force,
        dry_run: false,
        supersede: false,
        reason: reason.clone(),
        wait: waiting.wait(),
        timeout: waiting.timeout_text(),
    };
    let path = format!("{}/switch", service_path(&args.service));
    waiting.announce(session);
    let answer = session.client.change(Method::POST, &path, Some(&request), waiting.time()).await?;
    conclude(&answer, waiting, session)
}
