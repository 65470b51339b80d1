//! What was: the journal's entries, and the same as they happen.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate::{GateNews, GateReport};
use crate::ids::{Generation, ServiceName, Slot};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Switch,
    Rollback,
    /// A slot's endpoints or version were replaced.
    Slot,
    /// The service appeared in the config file, or was found there at first start.
    Added,
    Removed,
    /// Other settings of the service changed in the file.
    Settings,
    /// Leases were cut by a drain deadline.
    Cut,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Refused,
}

/// One line of the journal. `GET /v1/services/{service}/history`, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub action: Action,
    pub outcome: Outcome,
    /// The generation after the change; for a refusal, the one that stayed.
    pub generation: Generation,
    /// Who asked: `api 127.0.0.1`, `cli alice`, `file config.toml`, …
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Slot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
    /// The version that the change is about: of new contents, the one that was put in; else the one that serves after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was put into slots; entries of older versions have none. A restart finds it here if the state was not saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<SlotContents>,
    /// True if a failed gate was overruled.
    #[serde(default)]
    pub forced: bool,
    /// Why: the caller's reason, or the reason of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
}

/// What was put into a slot, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SlotContents {
    pub slot: Slot,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Empty if the slot was emptied.
    pub endpoints: Vec<EndpointAddresses>,
}

/// The addresses of one replica, as the config file or the API wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointAddresses {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
}

impl fmt::Display for EndpointAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.http, &self.grpc) {
            (Some(http), Some(grpc)) => write!(f, "{http} + {grpc}"),
            (one, other) => f.write_str(one.as_ref().or(other.as_ref()).map_or("(no address)", String::as_str)),
        }
    }
}

/// `GET /v1/services/{service}/history`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub entries: Vec<HistoryEntry>,
}

/// One event of `GET /v1/events` (SSE): its name is `kind`, its data this object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Anything that goes to the journal.
    Change(HistoryEntry),
    /// An endpoint's health changed.
    Health {
        at: String,
        #[schema(value_type = String)]
        service: ServiceName,
        slot: Slot,
        endpoint: String,
        healthy: bool,
        detail: String,
    },
    /// An endpoint is left out because requests failed there in a row; `for_ms` is 0 when that is over.
    Ejection {
        at: String,
        #[schema(value_type = String)]
        service: ServiceName,
        slot: Slot,
        endpoint: String,
        for_ms: u64,
    },
    /// A slot's last lease ended after it stopped being active.
    Drained {
        at: String,
        #[schema(value_type = String)]
        service: ServiceName,
        slot: Slot,
        generation: Generation,
        cut: u64,
    },
    /// A gate has come further.
    Gate(GateNews),
    /// The config file was read.
    Reload { at: String, ok: bool, problems: Vec<String> },
}

impl Event {
    /// The event's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Change(_) => "change",
            Event::Health { .. } => "health",
            Event::Ejection { .. } => "ejection",
            Event::Drained { .. } => "drained",
            Event::Gate(_) => "gate",
            Event::Reload { .. } => "reload",
        }
    }
}
