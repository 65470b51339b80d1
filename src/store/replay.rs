//! Catching up from the journal when it is ahead of the state file.

use std::{collections::BTreeMap, sync::Arc};

use super::{ServiceRecord, SlotDef, SlotRecord, State};
use crate::{
    api::{Action, HistoryEntry, Outcome, SlotContents},
    ids::{Generation, PerSlot, ServiceName, Slot},
};

/// A state after the journal had its say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub state: State,
    /// One line for each service that the journal was ahead of.
    pub notes: Vec<String>,
}

/// Brings `state` up to date with `entries`, oldest first, so that the slot that was active when the process died
/// still is. The journal is ahead when the process died between writing an entry and saving the state.
///
/// Only entries with outcome *done* and a generation above the service's recorded one count:
/// - *switch* and *rollback*: `active` becomes `to`, `previous` becomes `from`, both have served, the generation follows;
/// - *removed*: the record goes;
/// - all others: the generation follows;
/// - and whatever the action: `contents` stand in their slots now, and have not served before.
///
/// Entries of older versions may have no contents: what stands in a slot then stays as it was saved.
///
/// A service that was removed and added again may count its generations from the start; so an *added* entry undoes
/// what earlier entries did here, and makes a record where there is none. Services without either are skipped: they begin
/// with what the config file says. To replay twice is the same as once.
pub fn replay<'a>(state: State, entries: impl IntoIterator<Item = &'a HistoryEntry>) -> Replayed {
    let mut replay = Replay::new(state);
    entries.into_iter().for_each(|entry| replay.feed(entry));
    replay.finish()
}

/// [`replay`], one entry at a time: the journal need not fit in memory.
#[derive(Debug)]
pub(super) struct Replay {
    saved: State,
    /// Services whose record differs from the saved one so far.
    ahead: BTreeMap<ServiceName, Ahead>,
}

#[derive(Debug)]
struct Ahead {
    /// `None`: removed.
    record: Option<ServiceRecord>,
    /// The time and generation of the newest entry that counted.
    at: String,
    generation: Generation,
    /// The newest generation at which a slot's contents were replaced without a word about them.
    contents: Option<Generation>,
}

impl Replay {
    pub(super) fn new(saved: State) -> Self {
        Self { saved, ahead: BTreeMap::new() }
    }

    pub(super) fn feed(&mut self, entry: &HistoryEntry) {
        if entry.outcome != Outcome::Done {
            return;
        }
        if entry.action == Action::Added {
            self.ahead.remove(&entry.service);
            if !self.saved.services.contains_key(&entry.service) {
                self.ahead.extend(born(entry));
            }
        }
        let Some(record) = self.record(&entry.service).filter(|record| entry.generation > record.generation) else {
            return;
        };
        let contents = match entry.action {
            Action::Slot if entry.contents.is_empty() => Some(entry.generation),
            _ => self.ahead.get(&entry.service).and_then(|ahead| ahead.contents),
        };
        let record = (entry.action != Action::Removed).then(|| advanced(record.clone(), entry));
        let ahead = Ahead { record, at: entry.at.clone(), generation: entry.generation, contents };
        self.ahead.insert(entry.service.clone(), ahead);
    }

    /// The record as it stands by now.
    fn record(&self, service: &ServiceName) -> Option<&ServiceRecord> {
        match self.ahead.get(service) {
            Some(ahead) => ahead.record.as_ref(),
            None => self.saved.services.get(service).map(|saved| &**saved),
        }
    }

    pub(super) fn finish(self) -> Replayed {
        let mut state = self.saved;
        let mut notes = Vec::with_capacity(self.ahead.len());
        for (service, ahead) in self.ahead {
            if ahead.record.is_some() || state.services.contains_key(&service) {
                notes.push(note(&service, &ahead));
            }
            match ahead.record {
                Some(record) => state.services.insert(service, Arc::new(record)),
                None => state.services.remove(&service),
            };
        }
        Replayed { state, notes }
    }
}

fn advanced(mut record: ServiceRecord, entry: &HistoryEntry) -> ServiceRecord {
    record.generation = entry.generation;
    for new in &entry.contents {
        put_in(&mut record.slots[new.slot], new);
    }
    let is_new = |slot: Slot| entry.contents.iter().any(|new| new.slot == slot);
    if let (Action::Switch | Action::Rollback, Some(to)) = (entry.action, entry.to) {
        let from = entry.from.unwrap_or(record.active);
        record.previous = Some(from);
        record.active = to;
        record.slots[from].served = !is_new(from);
    }
    record.slots[record.active].served = true;
    // What stands there now has not served, so that there is nothing to roll back to.
    record.previous = record.previous.filter(|slot| !is_new(*slot));
    record
}

fn put_in(slot: &mut SlotRecord, new: &SlotContents) {
    slot.endpoints.clone_from(&new.endpoints);
    slot.version.clone_from(&new.version);
    slot.by_api = slot.endpoints != slot.file.endpoints || slot.version != slot.file.version;
    slot.served = false;
}

/// The record of a service that was added, if the entry says what with.
fn born(entry: &HistoryEntry) -> Option<(ServiceName, Ahead)> {
    let active = entry.to?;
    let mut slots = PerSlot::<SlotRecord>::default();
    for new in &entry.contents {
        slots[new.slot].file = SlotDef { endpoints: new.endpoints.clone(), version: new.version.clone() };
        put_in(&mut slots[new.slot], new);
    }
    if slots[active].endpoints.is_empty() {
        return None;
    }
    slots[active].served = true;
    let generation = entry.generation;
    let record = ServiceRecord { generation, active, previous: None, file_active: active, slots };
    let ahead = Ahead { record: Some(record), at: entry.at.clone(), generation, contents: None };
    Some((entry.service.clone(), ahead))
}

fn note(service: &ServiceName, ahead: &Ahead) -> String {
    let Ahead { at, generation, .. } = ahead;
    let what = match &ahead.record {
        Some(record) => format!("{} is active", record.active),
        None => "it was removed".to_owned(),
    };
    let lost = match ahead.contents {
        Some(generation) => format!(
            "; the slot contents of generation {generation} had not been saved, so its slots hold what they held before"
        ),
        None => String::new(),
    };
    format!("{service}: the journal is ahead of the state: {what} since generation {generation} at {at}{lost}")
}

/// What the journal says last about each service, for the case that there is no state to compare it with.
#[derive(Debug, Default)]
pub(super) struct LastWords(BTreeMap<ServiceName, (Slot, Generation)>);

impl LastWords {
    pub(super) fn feed(&mut self, entry: &HistoryEntry) {
        match (entry.outcome, entry.action, entry.to) {
            (Outcome::Done, Action::Added | Action::Removed, _) => {
                self.0.remove(&entry.service);
            }
            (Outcome::Done, Action::Switch | Action::Rollback, Some(to)) => {
                self.0.insert(entry.service.clone(), (to, entry.generation));
            }
            _ => {}
        }
    }

    /// One line for each service that was switched at least once.
    pub(super) fn notes(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(service, (slot, generation))| {
            format!(
                "{service}: there is no state, so it starts on the slot that the config file names; \
                 the journal last saw it on {slot} (generation {generation})"
            )
        })
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
