//! What is remembered between two runs.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    api::EndpointAddresses,
    ids::{Generation, PerSlot, ServiceName, Slot},
};

/// The shape of [`State`] that this program writes, and the newest it reads.
pub const STATE_VERSION: u32 = 1;

/// Everything that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Always [`STATE_VERSION`] in memory; another number only ever stands in a file of another program version.
    pub version: u32,
    pub services: BTreeMap<ServiceName, Arc<ServiceRecord>>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: STATE_VERSION, services: BTreeMap::new() }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    pub generation: Generation,
    pub active: Slot,
    /// The slot that served before; where a rollback goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Slot>,
    /// `active` as the config file had it when it was last applied. Only a file that says something else than this is
    /// a writer; a file that was merely saved again is not.
    pub file_active: Slot,
    pub slots: PerSlot<SlotRecord>,
}

/// What stands in a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    pub endpoints: Vec<EndpointAddresses>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the config file said for this slot when it was last applied.
    pub file: SlotDef,
    /// True if the contents differ from the file because the admin API replaced them.
    #[serde(default)]
    pub by_api: bool,
    /// True once the slot has been the active one with these contents.
    #[serde(default)]
    pub served: bool,
}

/// The contents of a slot as the config file defines them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDef {
    pub endpoints: Vec<EndpointAddresses>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
