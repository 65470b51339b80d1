//! `verdigris rollback`.

use clap::Args as ClapArgs;
use http::Method;

use super::{
    change::{ChangeArgs, conclude},
    service_path,
};
use crate::{
    api::RollbackRequest,
    cli::{error::CliError, exit::ExitCode, session::Session},
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
    let ChangeArgs { if_generation, force, reason, waiting } = &args.change;
    let request = RollbackRequest {
        if_generation: *if_generation,
        force: *force,
        supersede: false,
        reason: reason.clone(),
        wait: waiting.wait(),
        timeout: waiting.timeout_text(),
    };
    let path = format!("{}/rollback", service_path(&args.service));
    waiting.announce(session);
    let answer = session.client.change(Method::POST, &path, Some(&request), waiting.time()).await?;
    conclude(&answer, waiting, session)
}
