//! Which recordings run, and how far they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::{
    api::{Problem, ProblemKind, RecordProgress},
    ids::{ServiceName, Slot},
};

type Place = (ServiceName, Slot);

/// Those that run, one at most on each slot.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Recordings(Arc<Mutex<HashMap<Place, Arc<Numbers>>>>);

#[derive(Debug, Default)]
struct Numbers {
    wanted: usize,
    under_way: AtomicBool,
    recorded: AtomicUsize,
    seen: AtomicU64,
    matching: AtomicU64,
}

/// One that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Run {
    recordings: Recordings,
    place: Place,
    numbers: Arc<Numbers>,
    actor: String,
    done: AtomicBool,
}

impl Recordings {
    /// Begins one.
    ///
    /// # Errors
    /// `busy`: one runs on the slot.
    pub(super) fn begin(&self, service: &ServiceName, slot: Slot, wanted: usize, actor: &str) -> Result<Run, Problem> {
        let place = (service.clone(), slot);
        let mut running = self.running();
        if running.contains_key(&place) {
            let message = format!("a recording runs on slot {slot} of service {service}");
            return Err(Problem::new(ProblemKind::Busy, message).hint("it ends with its caller, or at its time limit"));
        }
        let numbers = Arc::new(Numbers { wanted, ..Numbers::default() });
        running.insert(place.clone(), numbers.clone());
        drop(running);
        tracing::info!(%actor, %service, %slot, wanted, "A recording of golden requests begins.");
        let (recordings, actor) = (self.clone(), actor.to_owned());
        Ok(Run { recordings, place, numbers, actor, done: AtomicBool::new(false) })
    }

    /// Of the one that runs on the slot; zeros if none does.
    pub(super) fn progress(&self, service: &ServiceName, slot: Slot) -> RecordProgress {
        let numbers = self.running().get(&(service.clone(), slot)).cloned();
        numbers.unwrap_or_default().progress()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Place, Arc<Numbers>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn progress(&self) -> RecordProgress {
        RecordProgress {
            under_way: self.under_way.load(Acquire),
            recorded: self.recorded.load(Relaxed),
            wanted: self.wanted,
            seen: self.seen.load(Relaxed),
            matching: self.matching.load(Relaxed),
        }
    }
}

impl Run {
    /// From now on nothing escapes it; only now others are told that it runs.
    pub(super) fn under_way(&self) {
        self.numbers.under_way.store(true, Release);
    }

    pub(super) fn recorded(&self, count: usize) {
        self.numbers.recorded.store(count, Relaxed);
    }

    pub(super) fn seen(&self, seen: u64, matching: u64) {
        self.numbers.seen.store(seen, Relaxed);
        self.numbers.matching.store(matching, Relaxed);
    }

    pub(super) fn progress(&self) -> RecordProgress {
        self.numbers.progress()
    }

    /// It came to its end.
    pub(super) fn done(&self, recorded: usize) {
        self.recorded(recorded);
        self.done.store(true, Relaxed);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.recordings.running().remove(&self.place);
        let (actor, (service, slot), recorded) = (&self.actor, &self.place, self.progress().recorded);
        if self.done.load(Relaxed) {
            tracing::info!(%actor, %service, %slot, recorded, "A recording of golden requests has ended.");
        } else {
            tracing::info!(%actor, %service, %slot, recorded, "A recording of golden requests was given up; nothing is kept of it.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: two recordings run on one slot, one that has ended keeps its place, or one is shown before it sees
    /// all traffic.
    #[test]
    fn one_runs_on_a_slot() {
        let (recordings, iris) = (Recordings::default(), "iris".parse().unwrap());
        let run = recordings.begin(&iris, Slot::Blue, 5, "test").unwrap();
        let busy = recordings.begin(&iris, Slot::Blue, 5, "test").unwrap_err();
        assert_eq!(busy.error, ProblemKind::Busy);
        drop(recordings.begin(&iris, Slot::Green, 5, "test").unwrap());
        assert!(!recordings.progress(&iris, Slot::Blue).under_way);
        run.under_way();
        run.recorded(3);
        let progress = recordings.progress(&iris, Slot::Blue);
        assert_eq!((progress.under_way, progress.recorded, progress.wanted), (true, 3, 5));
        drop(run);
        assert!(!recordings.progress(&iris, Slot::Blue).under_way);
        recordings.begin(&iris, Slot::Blue, 5, "test").unwrap();
    }
}
