//! Why not: one shape for every refusal of the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate::GateReport;

/// The kind of a refusal; each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// 401: the bearer token is missing or wrong.
    Unauthorized,
    /// 403: the call came from a foreign page or host name.
    Forbidden,
    /// 404: no such service, slot or path.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: the gate failed; the report says why. Nothing changed.
    Refused,
    /// 409: another change of this service is under way. Nothing changed.
    Busy,
    /// 409: this change was cancelled, or another one took its place. Nothing changed.
    Cancelled,
    /// 412: the service is at another generation. Nothing changed.
    GenerationDiffers,
    /// 413: the body is larger than the admin API takes.
    TooLarge,
    /// 422: the body or the config file is wrong; the message has the place.
    Invalid,
    /// 500: the journal could not be written, so traffic was not moved.
    Internal,
    /// 503: the proxy is shutting down.
    ShuttingDown,
}

impl ProblemKind {
    /// The HTTP status that goes with this kind.
    pub fn status(self) -> u16 {
        match self {
            ProblemKind::Unauthorized => 401,
            ProblemKind::Forbidden => 403,
            ProblemKind::NotFound => 404,
            ProblemKind::MethodNotAllowed => 405,
            ProblemKind::Refused | ProblemKind::Busy | ProblemKind::Cancelled => 409,
            ProblemKind::GenerationDiffers => 412,
            ProblemKind::TooLarge => 413,
            ProblemKind::Invalid => 422,
            ProblemKind::Internal => 500,
            ProblemKind::ShuttingDown => 503,
        }
    }
}

/// A refusal: what happened, where, and what to do. Nothing changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub error: ProblemKind,
    /// One sentence: what and where.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For `refused`: the gate's report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
    /// For `generation_differs`: the generation now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// For `invalid` config files: each problem with file, line and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Problem {
    /// A refusal of this kind, in one sentence.
    pub fn new(error: ProblemKind, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), hint: None, gate: None, generation: None, problems: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
