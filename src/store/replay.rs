//! Catching up from the journal when it is ahead of the state file.

use std::collections::BTreeMap;

use super::{ServiceRecord, State};
use crate::{
    api::{Action, HistoryEntry, Outcome},
    ids::{Generation, ServiceName, Slot},
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
/// - all others: the generation follows. Entries hold no endpoints, so what stands in a slot stays as it was saved
///   (for such changes the state is saved before they are published, and nothing is lost).
///
/// A service that was removed and added again may count its generations from the start; so an *added* entry undoes
/// what earlier entries did here. Services without a record are skipped: they begin with what the config file says.
/// To replay twice is the same as once.
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
    /// The newest generation at which a slot's contents were replaced, which cannot be replayed.
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
        }
        let Some(record) = self.record(&entry.service).filter(|record| entry.generation > record.generation) else {
            return;
        };
        let contents = match entry.action {
            Action::Slot => Some(entry.generation),
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
            None => self.saved.services.get(service),
        }
    }

    pub(super) fn finish(self) -> Replayed {
        let mut state = self.saved;
        let mut notes = Vec::with_capacity(self.ahead.len());
        for (service, ahead) in self.ahead {
            notes.push(note(&service, &ahead));
            match ahead.record {
                Some(record) => state.services.insert(service, record),
                None => state.services.remove(&service),
            };
        }
        Replayed { state, notes }
    }
}

fn advanced(mut record: ServiceRecord, entry: &HistoryEntry) -> ServiceRecord {
    record.generation = entry.generation;
    if let (Action::Switch | Action::Rollback, Some(to)) = (entry.action, entry.to) {
        let from = entry.from.unwrap_or(record.active);
        record.previous = Some(from);
        record.active = to;
        record.slots[from].served = true;
        record.slots[to].served = true;
    }
    record
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
