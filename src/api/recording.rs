//! Recording a golden file from live traffic, or from requests that are given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ServiceName, Slot};

/// `POST /v1/services/{service}/slots/{slot}/record`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRequest {
    /// Record so many, 1 to 10000; left out: 50, or all that are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<usize>,
    /// Record so long at most, such as `10m`; left out: five minutes. At most `6h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Only requests whose path, as the client wrote it, begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Only requests with this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests with these header fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Of those, every so many-th.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// Names of JSON members, tensors, headers and query parameters whose values must not be in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// Send each request once more, as the file has it, to find what varies in its answers. Left out: only the given ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
    /// The requests, as JSON Lines: those of a golden file, or bare ones. Left out: live traffic is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordEnd {
    /// As many as were asked for are in the file, or all that were given have been sent.
    Done,
    /// Its time was over.
    TimedOut,
    /// The slot was left by a switch, or other endpoints were put into it.
    SlotChanged,
}

/// What was recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordReply {
    #[schema(value_type = String)]
    pub service: ServiceName,
    pub slot: Slot,
    pub ended: RecordEnd,
    /// Requests in the file.
    pub recorded: usize,
    /// Requests that were asked for.
    pub wanted: usize,
    /// Requests of the slot meanwhile, or those that were given.
    pub seen: u64,
    /// Those that the filters took.
    pub matching: u64,
    pub left_out: Vec<RecordLeftOut>,
    pub took_ms: u64,
    /// The golden file; empty if nothing was recorded.
    pub file: String,
}

/// Requests that are not in the file for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordLeftOut {
    pub reason: String,
    pub count: u64,
    /// The first of them, if it is known by a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// `GET /v1/services/{service}/slots/{slot}/record`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordProgress {
    /// A recording runs; the numbers are its own.
    pub under_way: bool,
    pub recorded: usize,
    pub wanted: usize,
    /// Requests of the slot meanwhile, or those that were sent.
    pub seen: u64,
    pub matching: u64,
}
