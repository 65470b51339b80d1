//! Keeps the state file up with the books.
//!
//! What was switched, or put into a slot through the API, is in the journal before it takes effect, and a restart finds it
//! there. So nobody waits for the state file then, which holds all services: it follows soon, at most one save at a time
//! and one for many changes. What only the state file knows, such as what the config file said last, is saved before
//! the reload is answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::{
    ids::ServiceName,
    store::{ServiceRecord, State, Store, StoreError},
};

/// How long after a change the state is saved, at least.
const SAVE_AFTER: Duration = Duration::from_millis(200);
/// A long state is saved less often, so that saving takes at most this part of the time.
const SAVING_SHARE: u32 = 20;
/// How long after a failure the next try is made, if nothing else happens.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The state as it is to be on disk, and how far that is done.
#[derive(Debug)]
pub(super) struct Saver {
    store: Arc<Store>,
    state: State,
    /// Something is not on its way to the disk yet.
    is_behind: bool,
    /// When what is behind is to be saved.
    due: Option<Instant>,
    under_way: Option<JoinHandle<Saved>>,
    /// What the last save took.
    took: Duration,
}

/// How a save went, and what it took.
type Saved = (Result<(), StoreError>, Duration);

impl Saver {
    /// Nothing has been saved yet.
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, state: State::default(), is_behind: true, due: None, under_way: None, took: Duration::ZERO }
    }

    /// What is to be saved of a service from now on; `None`: nothing. [`Saver::soon`] or [`Saver::now`] must follow.
    pub(super) fn note(&mut self, service: &ServiceName, record: Option<ServiceRecord>) {
        let known = self.state.services.get(service).map(|known| &**known);
        if known == record.as_ref() {
            return;
        }
        self.is_behind = true;
        match record {
            Some(record) => drop(self.state.services.insert(service.clone(), Arc::new(record))),
            None => drop(self.state.services.remove(service)),
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Has [`Saver::go_on`] save before long.
    pub(super) fn soon(&mut self) {
        if self.is_behind {
            self.due.get_or_insert(Instant::now() + SAVE_AFTER.max(self.took * SAVING_SHARE));
        }
    }

    /// Saves what is not saved; it is on disk when this returns.
    pub(super) async fn now(&mut self) -> Result<(), String> {
        // What is being written is older, and must not come last.
        // If it fails, it is done again.
        let _ = self.finish().await;
        if !self.is_behind {
            return Ok(());
        }
        self.begin();
        self.finish().await
    }

    /// Does what is due; never returns if nothing is. Cancel-safe.
    pub(super) async fn go_on(&mut self) {
        if self.under_way.is_some() {
            if let Err(error) = self.finish().await {
                complain(&error);
            }
        } else if let Some(due) = self.due {
            tokio::time::sleep_until(due.into()).await;
            self.begin();
        } else {
            std::future::pending().await
        }
    }

    fn begin(&mut self) {
        (self.is_behind, self.due) = (false, None);
        let (store, state) = (self.store.clone(), self.state.clone());
        self.under_way = Some(tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let result = store.save(&state);
            (result, begun.elapsed())
        }));
    }

    /// Waits for the save that is under way, if there is one. Cancel-safe.
    async fn finish(&mut self) -> Result<(), String> {
        let Some(saving) = &mut self.under_way else { return Ok(()) };
        let saved = saving.await;
        self.under_way = None;
        let error = match saved {
            Ok((result, took)) => {
                self.took = took;
                result.err().map(|error| error.to_string())
            }
            Err(ended) => Some(ended.to_string()),
        };
        let Some(error) = error else { return Ok(()) };
        self.is_behind = true;
        self.due.get_or_insert(Instant::now() + RETRY_AFTER);
        Err(error)
    }
}

/// Says that the state could not be saved, which costs nothing yet.
pub(super) fn complain(error: &str) {
    tracing::error!(%error, "The state could not be saved; the journal has the change, and a restart will find it there.");
}

#[cfg(test)]
#[path = "saver_tests.rs"]
mod tests;
