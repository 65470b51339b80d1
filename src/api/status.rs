//! What is: services, slots, endpoints, drains.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate::{Tested, UnderWay};
use crate::ids::{Generation, PerSlot, ServiceName, Slot};

/// `GET /v1/services`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    pub proxy: ProxyStatus,
    pub services: Vec<ServiceStatus>,
}

/// The process as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProxyStatus {
    /// Version of this program.
    pub version: String,
    pub uptime_ms: u64,
    /// The config file in use.
    pub config: String,
    /// How the last reading of the config file ended.
    pub reload: ReloadStatus,
    /// Why certificate files on disk are not in force and older ones serve on; one line for each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_problems: Vec<String>,
}

/// How the last reading of the config file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadStatus {
    /// False while the file on disk is refused and an older one serves on.
    pub ok: bool,
    /// When the file was last read, RFC 3339.
    pub at: String,
    /// Why it was refused: file, line, key and hint, one problem each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What was accepted but takes effect only after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
}

/// `GET /v1/services/{service}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    #[schema(value_type = String)]
    pub name: ServiceName,
    pub generation: Generation,
    pub active: Slot,
    /// The rule that requests must meet, in words.
    pub matches: String,
    /// A change that is being prepared, in words (`switch to green: gate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// The same change in detail: who asked, since when, and how far its gate is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
    pub rollback: RollbackStatus,
    pub slots: PerSlot<SlotStatus>,
}

/// Whether `rollback` would be accepted now, and how fast.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RollbackStatus {
    /// The slot that served before; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
    /// True if that slot still stands with an endpoint that its running probes hold healthy. A rollback asks it once
    /// more; a live server answers at once, and one that does not answer holds the rollback up for 1 s at most.
    pub instant: bool,
    /// The reason, in words.
    pub why: String,
}

/// What a slot is to its service; the health of its endpoints is another matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlotPhase {
    /// Serves.
    Active,
    /// Ready to be switched to; nothing but previews runs on it.
    Standby,
    /// Served before, or was filled anew; requests from before still run on it.
    Draining,
    /// Served before; nothing runs on it any more.
    Drained,
    /// Has no endpoints.
    Empty,
}

/// One slot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SlotStatus {
    pub slot: Slot,
    pub phase: SlotPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub endpoints: Vec<EndpointStatus>,
    pub drain: DrainStatus,
    /// The gate that was run last on what stands in the slot now; absent if none was since the proxy started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
}

/// The result of probing, apart from the slot's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointHealth {
    /// Not probed yet.
    Unknown,
    Healthy,
    Unhealthy,
}

/// One endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    pub health: EndpointHealth,
    /// What the last probe saw, in words.
    pub detail: String,
    /// Age of the last probe's result; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed_ms_ago: Option<u64>,
    /// How long it is still left out because requests failed there in a row; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
}

/// Requests that hold a lease, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InFlight {
    pub unary: u64,
    pub stream: u64,
    pub tunnel: u64,
    pub total: u64,
}

/// `GET /v1/services/{service}/slots/{slot}/drain`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DrainStatus {
    pub in_flight: InFlight,
    /// Age of the oldest lease; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Leases that a deadline has cut since the slot last became active.
    pub cut: u64,
    /// True when nothing runs on the slot and nothing new can start there.
    pub safe_to_delete: bool,
    /// True while the slot is active and no change away from it is under way: to wait leads nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serves_on: bool,
    /// True while the slot stands by and callers may choose it (`service.preview`): it drains only when it is emptied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_previews: bool,
    /// The reason for the verdict, in words.
    pub why: String,
}
