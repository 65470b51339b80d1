//! The state directory: one owner, one state file, one journal.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    State, StoreError,
    disk::{failed, sync_dir},
    journal::Journal,
    replay::{LastWords, Replay},
    state_file::StateFile,
};
use crate::{api::HistoryEntry, ids::ServiceName};

/// A state directory that this process owns until the value is dropped.
///
/// All calls block on the disk. They may come from several threads; saves and appends each happen one after another.
#[derive(Debug)]
pub struct Store {
    state_file: Mutex<StateFile>,
    journal: Mutex<Journal>,
    /// Held for its lock, which the kernel gives back when the process ends in any way.
    _lock: fs::File,
}

/// What was found in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// `None` at the first start, and when no state could be read: the config file decides then.
    pub state: Option<State>,
    /// What was repaired, in words, one sentence each. Empty after an orderly end.
    pub notes: Vec<String>,
}

impl Store {
    /// Takes `dir` for this process alone, creating it if need be, and reads back what it holds: the state, brought up
    /// to date from the journal ([`replay`](super::replay)). Damage is repaired or set aside, and noted.
    ///
    /// Fails if another process owns the directory, if something in it may not be read or written, or if the state is
    /// of a newer format. Repairs that were made before a failure are harmless: each leaves the directory whole.
    pub fn open(dir: &Path) -> Result<(Store, Recovered), StoreError> {
        create(dir)?;
        let lock = lock(dir)?;
        let mut notes = Vec::new();
        let state_file = StateFile::new(dir);
        let saved = state_file.load(&mut notes)?;
        let (journal, state) = catch_up(dir, saved, &mut notes)?;
        let store = Store { state_file: Mutex::new(state_file), journal: Mutex::new(journal), _lock: lock };
        Ok((store, Recovered { state, notes }))
    }

    /// Replaces the state on disk; on return it survives a power cut.
    ///
    /// After an error the disk holds the new state or the one before it, whole. The journal makes up for what was not
    /// saved, so the caller may carry on and save again later.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        held(&self.state_file).save(state)
    }

    /// Adds entries to the journal, in one write; on return they survive a power cut.
    ///
    /// After an error none of them is in the journal, and what they would have recorded must not happen.
    pub fn append(&self, entries: &[HistoryEntry]) -> Result<(), StoreError> {
        held(&self.journal).append(entries)
    }

    /// The newest `limit` entries of a service, newest first, whether it still exists or not.
    ///
    /// Reads from the end backwards, with memory for one piece of a file and the result. Appending goes on meanwhile.
    /// Entries that cannot be read are left out.
    pub fn history(&self, service: &ServiceName, limit: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        let pages = held(&self.journal).pages()?;
        pages.newest(service, limit)
    }
}

/// Both are whole between any two of their steps, so a thread that panicked while it held one has broken nothing.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(failed("create the directory", dir))?;
    // Some parents may be passed through but not read; then the new directory lasts a little later, by itself.
    let _ = dir.parent().map(sync_dir);
    Ok(())
}

fn lock(dir: &Path) -> Result<fs::File, StoreError> {
    let path = dir.join("lock");
    let file = fs::File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

fn catch_up(dir: &Path, saved: Option<State>, notes: &mut Vec<String>) -> Result<(Journal, Option<State>), StoreError> {
    let Some(saved) = saved else {
        let mut last_words = LastWords::default();
        let journal = Journal::open(dir, notes, &mut |entry| last_words.feed(entry))?;
        notes.extend(last_words.notes());
        return Ok((journal, None));
    };
    let mut replay = Replay::new(saved);
    let journal = Journal::open(dir, notes, &mut |entry| replay.feed(entry))?;
    let replayed = replay.finish();
    notes.extend(replayed.notes);
    Ok((journal, Some(replayed.state)))
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
