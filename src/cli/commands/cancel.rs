//! `verdigris cancel`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;

use super::{service_path, slot_path};
use crate::{
    api::CancelReply,
    cli::{client::Answer, error::CliError, exit::ExitCode, session::Session},
    ids::{ServiceName, Slot},
};

/// Cancel a service's change while its gate still runs; or a slot's test.
///
/// Nothing has changed then. What has passed its gate is no longer to be cancelled: roll back.
#[derive(Clone, Debug, ClapArgs)]
pub struct CancelArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot whose test is meant, blue or green; without it, the service's change.
    pub slot: Option<Slot>,
}

pub(in crate::cli) async fn run(args: &CancelArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let path = match args.slot {
        None => format!("{}/change", service_path(&args.service)),
        Some(slot) => format!("{}/test", slot_path(&args.service, slot)),
    };
    let answer: Answer<CancelReply> = session.client.change(Method::DELETE, &path, None::<&()>, Duration::ZERO).await?;
    session.show(&answer, |page, reply| page.line(&reply.message))?;
    Ok(ExitCode::Done)
}
