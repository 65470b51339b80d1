//! Why a client command did not do what was asked for.

use std::{io, path::PathBuf, time::Duration};

use super::{address::AdminAddress, exit::ExitCode};
use crate::api::{Problem, ProblemKind};

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("cannot read the token file {}: {source}; check --token-file or VERDIGRIS_TOKEN_FILE", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("the token file {} does not hold a token: it must be one line of visible ASCII characters", path.display())]
    BadToken { path: PathBuf },
    #[error(
        "cannot reach the admin API at {admin}: {cause}; is verdigris running? start it with \
         `verdigris run --config FILE`, or point --admin at it"
    )]
    Unreachable { admin: AdminAddress, cause: String },
    #[error(
        "the admin API at {admin} closed the connection before it answered: {cause}; what was asked for may have \
         happened: look at `verdigris status`"
    )]
    Lost { admin: AdminAddress, cause: String },
    #[error(
        "the admin API at {admin} did not answer within {}; what was asked for may still happen: look at \
         `verdigris status`",
        humantime::format_duration(*.within)
    )]
    Silent { admin: AdminAddress, within: Duration },
    #[error("{0}; check --ca, --cert and --key")]
    TlsFile(String),
    #[error("the admin API at {admin} cannot be trusted: {cause}")]
    Untrusted { admin: AdminAddress, cause: String },
    #[error(
        "the admin API at {admin} asks for a client certificate that it knows; show one that its admin.tls.client_ca \
         signed with --cert and --key"
    )]
    CertificateAsked { admin: AdminAddress },
    #[error("{}", .problem.message)]
    Problem { problem: Box<Problem>, json: String },
    #[error(
        "the admin API at {admin} answered {status} with something this version does not understand ({cause}); \
         is it verdigris, of the same version as this command?"
    )]
    Foreign { admin: AdminAddress, status: u16, cause: String },
    #[error("interrupted{}", .goes_on.as_ref().map(|what| format!("; {what}")).unwrap_or_default())]
    Interrupted { goes_on: Option<String> },
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl CliError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Usage(_) => ExitCode::Usage,
            CliError::Unreachable { .. } | CliError::Untrusted { .. } => ExitCode::Unreachable,
            CliError::CertificateAsked { .. } => ExitCode::Refused,
            CliError::Problem { problem, .. } => problem_exit_code(problem.error),
            CliError::Foreign { status, .. } => foreign_exit_code(*status),
            CliError::TokenFile { .. }
            | CliError::BadToken { .. }
            | CliError::TlsFile(_)
            | CliError::Lost { .. }
            | CliError::Silent { .. }
            | CliError::Interrupted { .. }
            | CliError::Output(_)
            | CliError::Runtime(_) => ExitCode::Failed,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self, CliError::Problem { problem, .. } if problem.error == ProblemKind::Busy)
    }
}

fn problem_exit_code(kind: ProblemKind) -> ExitCode {
    match kind {
        ProblemKind::Busy | ProblemKind::Cancelled | ProblemKind::GenerationDiffers => ExitCode::Conflict,
        ProblemKind::Unauthorized
        | ProblemKind::Forbidden
        | ProblemKind::NotFound
        | ProblemKind::Refused
        | ProblemKind::TooLarge
        | ProblemKind::Invalid => ExitCode::Refused,
        ProblemKind::MethodNotAllowed | ProblemKind::Internal | ProblemKind::ShuttingDown => ExitCode::Failed,
    }
}

/// A refusal without a document: something between us and the admin API, or another version of it.
fn foreign_exit_code(status: u16) -> ExitCode {
    match status {
        401 | 403 | 404 | 409 | 413 | 422 => ExitCode::Refused,
        412 => ExitCode::Conflict,
        _ => ExitCode::Failed,
    }
}
