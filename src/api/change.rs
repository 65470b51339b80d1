//! What is asked for, and what became of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{gate::GateReport, status::DrainStatus};
use crate::ids::{Generation, ServiceName, Slot};

/// What a call waits for before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// For nothing: 202 as soon as the gate runs. Events and the service's status tell how it goes on.
    None,
    /// Until traffic has moved, or the gate has failed.
    #[default]
    Switched,
    /// Until the slot that served before has no lease left.
    Drained,
}

/// `POST /v1/services/{service}/switch`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// The slot to switch to; left out: the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
    /// Refuse with 412 unless the service is at this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// Switch although the gate fails; recorded in the journal.
    #[serde(default)]
    pub force: bool,
    /// Only say what it would do; the answer is a [`DryRun`](super::DryRun).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Cancel another change of this service whose gate still runs, and take its place; otherwise 409.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
    /// Free text for the journal; `force` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
    /// How long to wait, such as `10m`; left out: ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// `POST /v1/services/{service}/rollback`: a switch to the slot that served before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    #[serde(default)]
    pub force: bool,
    /// Cancel another change of this service whose gate still runs, and take its place; otherwise 409.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// An endpoint as the file writes it: a URL, or its HTTP and gRPC addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "an endpoint is a URL in quotes, or an object with `http`, `grpc` or both"
)]
pub enum EndpointSpec {
    Url(String),
    Pair {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grpc: Option<String>,
    },
}

/// `PUT /v1/services/{service}/slots/{slot}`: new endpoints and version for a slot, as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotUpdate {
    /// May be empty, which empties a standby slot.
    pub endpoints: Vec<EndpointSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// Replace an active slot's endpoints although their gate fails; needs a reason.
    #[serde(default)]
    pub force: bool,
    /// Cancel another change of this service whose gate still runs, and take its place; otherwise 409.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/services/{service}/slots/{slot}/drain`: cut what is left after a while. Waiting alone is the `GET`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Cut what still runs after this long (`0s`: now), visibly to its clients, and count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// Traffic has moved.
    Switched,
    /// The slot was active already; nothing changed.
    Unchanged,
    /// The slot's endpoints or version are now these.
    Replaced,
    /// The gate runs; nothing has changed yet.
    UnderWay,
}

/// Answer to a switch, a rollback or a slot update. 200, or 202 when the wait ended before the drain did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeReply {
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub outcome: ChangeOutcome,
    pub generation: Generation,
    /// The slot that serves now.
    pub active: Slot,
    /// The slot that served before this call.
    pub previous: Slot,
    /// True if a failed gate was overruled.
    #[serde(default)]
    pub forced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
    /// The other slot's drain, as it stood when the call answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// In words, for a person.
    pub message: String,
}

/// `POST /v1/services/{service}/slots/{slot}/test`; the body may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Answer 202 as soon as the gate runs. Events and the slot's `tested` tell how it goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

/// Answer to `POST /v1/services/{service}/slots/{slot}/test`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestReply {
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub slot: Slot,
    /// True if the gate runs still: `gate` is empty then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub under_way: bool,
    pub gate: GateReport,
}

/// Answer to `POST /v1/config/reload`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ReloadReply {
    /// What changed, one line each; empty if the file says what already holds.
    pub changes: Vec<String>,
    /// What takes effect only after a restart.
    pub needs_restart: Vec<String>,
}
