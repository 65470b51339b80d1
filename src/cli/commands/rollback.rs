//! `verdigris rollback`.

use clap::Args as ClapArgs;

use super::{change::ChangeArgs, service_path};
use crate::{
    api::{GatePurpose, RollbackRequest},
    cli::{error::CliError, exit::ExitCode, progress::Watched, session::Session},
    ids::ServiceName,
};

/// Move a service's traffic back to the slot that served before.
#[derive(Clone, Debug, ClapArgs)]
pub struct RollbackArgs {
    /// The service's name.
    pub service: ServiceName,
    #[command(flatten)]
    pub change: ChangeArgs,
}

pub(in crate::cli) async fn run(args: &RollbackArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let change = &args.change;
    change.check()?;
    let request = RollbackRequest {
        if_generation: change.if_generation,
        force: change.force,
        supersede: change.supersede,
        reason: change.reason.clone(),
        wait: change.wait_for(),
        timeout: change.waiting.timeout_text(),
    };
    let path = format!("{}/rollback", service_path(&args.service));
    let gate = Watched { service: args.service.clone(), slot: None, purpose: GatePurpose::Rollback };
    change.carry_out(&path, &request, gate, session).await
}
