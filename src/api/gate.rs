//! Gates: what they saw, how far they are, what they would do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::{DrainStatus, RollbackStatus};
use crate::ids::{Generation, ServiceName, Slot};

/// What a gate saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateReport {
    pub passed: bool,
    pub steps: Vec<GateStep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    Pass,
    Fail,
    Skipped,
}

/// One step of a gate with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateStep {
    /// `readiness`, `contract`, `golden`, `warm_up` or `connections`.
    pub name: String,
    pub result: StepResult,
    /// One line for each thing seen: endpoint, answer, time.
    pub evidence: Vec<String>,
    pub took_ms: u64,
}

/// How far a gate is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateProgress {
    /// The steps that are done.
    pub steps: Vec<GateStep>,
    /// The step that runs; absent before the first and after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningStep>,
}

/// A step of a gate that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningStep {
    /// As in [`GateStep`].
    pub name: String,
    /// How far it is, in words: `12 of 60 golden requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A gate's last result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// When it ended, RFC 3339.
    pub at: String,
    pub gate: GateReport,
}

/// A change that is being prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnderWay {
    /// In words: `switch to green`.
    pub what: String,
    /// The slot that it is about.
    pub slot: Slot,
    pub actor: String,
    /// When it was asked for, RFC 3339.
    pub since: String,
    /// False once its gate has passed and it is being written down: it cannot be cancelled any more.
    pub cancellable: bool,
    pub gate: GateProgress,
}

/// What a gate is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GatePurpose {
    Switch,
    Rollback,
    /// New endpoints for the active slot.
    Slot,
    /// A changed config file.
    Reload,
    /// To see, without consequences.
    Test,
}

/// A gate has come further. Each has the whole progress, so that one that was missed does no harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateNews {
    pub at: String,
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub slot: Slot,
    pub purpose: GatePurpose,
    pub actor: String,
    pub progress: GateProgress,
    /// Whether it passed; absent while it runs. A gate that was cancelled ends with `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
}

/// Answer to a switch with `dry_run`: what it would do. Nothing was asked of any server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub generation: Generation,
    /// The slot that serves now.
    pub active: Slot,
    /// The slot that would serve.
    pub to: Slot,
    /// Why it would be refused before its gate; absent if it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The steps that its gate would take, in their order.
    pub steps: Vec<PlannedStep>,
    /// What runs on the slot that serves now, and would have to drain.
    pub drain: DrainStatus,
    /// The way back, as it would be after the switch.
    pub rollback: RollbackStatus,
    /// In words, for a person.
    pub message: String,
}

/// A step that a gate would take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStep {
    /// As in [`GateStep`].
    pub name: String,
    /// What it would do, in words; or why it would be skipped.
    pub what: String,
}

/// Answer to `DELETE /v1/services/{service}/change` and `DELETE /v1/services/{service}/slots/{slot}/test`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CancelReply {
    #[schema(value_type = String)]
    pub service: ServiceName,
    /// What was cancelled, in words. Nothing changed.
    pub message: String,
}
