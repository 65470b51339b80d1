//! The books as they stand on disk, and back.

use super::entry::{Entry, SlotEntry};
use crate::{
    api::EndpointAddresses,
    config::{EndpointSettings, SlotSettings},
    ids::PerSlot,
    store::{ServiceRecord, SlotDef, SlotRecord},
};

/// What is to be found again after a restart.
pub(super) fn of_entry(entry: &Entry) -> ServiceRecord {
    ServiceRecord {
        generation: entry.machine.generation(),
        active: entry.machine.active(),
        previous: entry.machine.previous(),
        file_active: entry.file_active,
        slots: PerSlot::from_fn(|slot| of_slot(&entry.slots[slot])),
    }
}

fn of_slot(slot: &SlotEntry) -> SlotRecord {
    SlotRecord {
        endpoints: addresses(&slot.contents),
        version: slot.contents.version.clone(),
        file: SlotDef { endpoints: addresses(&slot.file), version: slot.file.version.clone() },
        by_api: slot.contents != slot.file,
        served: slot.served,
    }
}

/// The addresses of what stands in a slot, as text.
pub(super) fn addresses(contents: &SlotSettings) -> Vec<EndpointAddresses> {
    let record = |endpoint: &EndpointSettings| EndpointAddresses {
        http: endpoint.http.as_ref().map(ToString::to_string),
        grpc: endpoint.grpc.as_ref().map(ToString::to_string),
    };
    contents.endpoints.iter().map(record).collect()
}

/// A recorded slot: what stood there, and what the file had said. `None` if an address no longer parses.
pub(super) fn to_contents(record: &SlotRecord) -> Option<(SlotSettings, SlotSettings)> {
    let contents = slot_settings(&record.endpoints, record.version.as_ref())?;
    let file = slot_settings(&record.file.endpoints, record.file.version.as_ref())?;
    Some((contents, file))
}

fn slot_settings(endpoints: &[EndpointAddresses], version: Option<&String>) -> Option<SlotSettings> {
    let parse =
        |record: &EndpointAddresses| EndpointSettings::parse(record.http.as_deref(), record.grpc.as_deref()).ok();
    let endpoints = endpoints.iter().map(parse).collect::<Option<Vec<_>>>()?;
    Some(SlotSettings { endpoints, version: version.cloned() })
}
