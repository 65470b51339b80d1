//! One look at the file: renew the watches, read, compare.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

use super::{
    super::FileContent,
    Pace,
    signal::{Reason, Signal, Waker},
    trail::{Identity, identities},
};

/// Where the file is looked for, and what was seen there last.
pub(super) struct Lookout {
    path: PathBuf,
    /// Hash of the content seen last.
    seen: String,
    pace: Pace,
    /// Nothing outside it is watched.
    ceiling: PathBuf,
    waker: Waker,
    /// `None` where file events are not to be had; tried again at each look.
    events: Option<RecommendedWatcher>,
    /// The directories on the way to the file, when it was gone last.
    trail: BTreeMap<PathBuf, Option<Identity>>,
    /// Those of them that are watched, as they were before that began.
    watched: BTreeMap<PathBuf, Option<Identity>>,
    /// Something was deleted: if it was a directory, its watch is gone with it, whatever has its place now.
    deleted: Arc<AtomicBool>,
    /// So that each trouble is logged once, when it begins.
    polling: bool,
    away: bool,
}

impl Lookout {
    pub(super) fn new(path: &Path, known: &str, pace: Pace, ceiling: &Path, waker: Waker) -> Self {
        Self {
            path: path.to_owned(),
            seen: known.to_owned(),
            pace,
            ceiling: ceiling.to_owned(),
            waker,
            events: None,
            trail: BTreeMap::new(),
            watched: BTreeMap::new(),
            deleted: Arc::default(),
            polling: false,
            away: false,
        }
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Sets the watches and asks for a first look.
    pub(super) fn begin(&mut self) {
        self.renew_watches();
        self.waker.wake();
    }

    #[cfg(test)]
    pub(super) fn is_polling(&self) -> bool {
        self.polling
    }

    /// Reads the file; `Some` if its content is another than at the last look.
    ///
    /// The watches are renewed first: what changes after the reading then makes an event.
    pub(super) fn look(&mut self, reason: Reason, signal: &Signal) -> Option<FileContent> {
        self.renew_watches();
        let content = self.read()?;
        if content.hash == self.seen {
            return None;
        }
        let unsure = self.polling || reason == Reason::Poll;
        let settled = if unsure { self.settle(content, signal)? } else { content };
        self.seen.clone_from(&settled.hash);
        Some(settled)
    }

    /// Without events nobody says that a writer is at work, so the content has to be the same twice.
    fn settle(&mut self, mut content: FileContent, signal: &Signal) -> Option<FileContent> {
        for _ in 0..SETTLE_ROUNDS_MAX {
            signal.called_within(self.pace.quiet);
            let again = self.read()?;
            if again.hash == content.hash || signal.stopped() {
                return Some(again);
            }
            content = again;
        }
        Some(content)
    }

    fn read(&mut self) -> Option<FileContent> {
        match FileContent::read_regular(&self.path) {
            Ok(content) => {
                self.away = false;
                Some(content)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.away, true) {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "cannot read the configuration file; its last content stays in force");
                }
                None
            }
        }
    }

    /// A directory of the same name may be another directory now. One that is not stays watched: to begin with it anew
    /// has the kernel walk through all names that it knows in there, for milliseconds where there are many.
    fn renew_watches(&mut self) {
        if !self.pace.events {
            self.polling = true;
            return;
        }
        for round in 0..TRAIL_ROUNDS_MAX {
            let mut trail = identities(&self.path);
            trail.retain(|directory, _| directory.starts_with(&self.ceiling));
            // Links may have been swapped before the watches stood, so the way has to be the same afterwards.
            if round > 0 && trail == self.trail {
                break;
            }
            self.trail = trail;
            match self.watch() {
                Ok(()) => self.polling = false,
                Err(error) => {
                    self.fall_back(&error);
                    break;
                }
            }
        }
    }

    fn watch(&mut self) -> notify::Result<()> {
        let events = match &mut self.events {
            Some(events) => events,
            none => none.insert(listen(self.waker.clone(), self.deleted.clone())?),
        };
        let (trail, doubtful) = (&self.trail, self.deleted.swap(false, SeqCst));
        self.watched.retain(|directory, identity| {
            let stays = !doubtful && identity.is_some() && trail.get(directory) == Some(identity);
            if !stays {
                // It fails if the directory was deleted, which took its watch along.
                let _already_off = events.unwatch(directory);
            }
            stays
        });
        for (directory, identity) in trail {
            if self.watched.contains_key(directory) {
                continue;
            }
            match events.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(directory.clone(), *identity)),
                Err(error) if is_limit(&error) => return Err(error),
                // Not there yet, or not ours to read: the directory above sees the one, the poll the other.
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "a directory is not watched");
                }
            }
        }
        Ok(())
    }

    pub(super) fn fall_back(&mut self, error: &notify::Error) {
        self.events = None;
        self.trail.clear();
        self.watched.clear();
        if !std::mem::replace(&mut self.polling, true) {
            let every = self.pace.poll;
            tracing::warn!(%error, ?every, "no file events; the configuration file is looked at again and again instead");
        }
    }
}

pub(super) fn listen(waker: Waker, deleted: Arc<AtomicBool>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        match event {
            Ok(event) if is_mere_reading(&event.kind) => return,
            Ok(event) if !event.kind.is_remove() && !event.need_rescan() => {}
            // What is not known may have been a deletion.
            Ok(_) | Err(_) => deleted.store(true, SeqCst),
        }
        waker.wake();
    })
}

/// Our own looking makes these: to act on them would be to look for ever.
fn is_mere_reading(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

fn is_limit(error: &notify::Error) -> bool {
    matches!(error.kind, notify::ErrorKind::MaxFilesWatch)
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookout({}, seen {})", self.path.display(), self.seen)
    }
}

/// A writer that takes longer than this many quiet times is read as it stands, and again when it is done.
const SETTLE_ROUNDS_MAX: usize = 6;

/// Links that are swapped faster than they can be followed are followed at the next event.
const TRAIL_ROUNDS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{super::signal, *};

    /// Fails when: a directory counts as watched after a deletion because its successor looks the same (a number is
    /// given away again, and births are told to some milliseconds only). Here it loses its watch by hand.
    #[test]
    fn after_a_deletion_no_directory_counts_as_watched() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        let path = root.join("config.toml");
        fs::write(&path, "a").unwrap();
        let (waker, signal) = signal::pair();
        let mut lookout = Lookout::new(&path, "", Pace::REAL, &root, waker);
        lookout.begin();
        lookout.events.as_mut().unwrap().unwatch(&root).unwrap();
        while signal.called_within(Duration::ZERO) {}
        lookout.deleted.store(true, SeqCst);
        assert!(lookout.look(Reason::Events, &signal).is_some());
        fs::write(&path, "b").unwrap();
        assert!(signal.called_within(Duration::from_secs(10)), "nobody watches");
    }

    /// Fails when: a deletion is not noticed as one.
    #[test]
    fn a_deletion_is_noticed() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("other");
        fs::write(&file, "").unwrap();
        let ((waker, signal), deleted) = (signal::pair(), Arc::<AtomicBool>::default());
        let mut events = listen(waker, deleted.clone()).unwrap();
        events.watch(room.path(), RecursiveMode::NonRecursive).unwrap();
        fs::write(&file, "more").unwrap();
        assert!(signal.called_within(Duration::from_secs(10)));
        assert!(!deleted.load(SeqCst));
        fs::remove_file(&file).unwrap();
        while !deleted.load(SeqCst) {
            assert!(signal.called_within(Duration::from_secs(10)), "no event told of it");
        }
    }
}
