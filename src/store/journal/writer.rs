//! Opening, writing and rotating the journal.

use std::{fs, io, path::Path};

use super::{
    files::{Files, open_to_append},
    line,
    pages::{Page, Pages},
    scan::{Scan, scan},
    tail::Tail,
};
use crate::{
    api::HistoryEntry,
    store::{
        StoreError,
        disk::{failed, if_found, sync_dir},
    },
};

/// A file at least this long gets no further entries.
const ROTATE_BYTES: u64 = 16 * 1024 * 1024;

/// The journal of a state directory, open for writing.
#[derive(Debug)]
pub(in crate::store) struct Journal {
    files: Files,
    tail: Tail<fs::File>,
    /// False after a rotation until the new file's name is on disk: before that a synced line could still be lost.
    dir_synced: bool,
    rotate_bytes: u64,
}

impl Journal {
    /// Opens the journal in `dir`, creating it if need be, and shows every entry to `visit`, oldest first. A torn tail
    /// is cut off; rotten lines are skipped and stay; `notes` says so.
    pub(in crate::store) fn open(
        dir: &Path,
        notes: &mut Vec<String>,
        visit: &mut dyn FnMut(&HistoryEntry),
    ) -> Result<Self, StoreError> {
        let files = Files::new(dir);
        for path in files.rotated().rev() {
            if let Some(file) = if_found(fs::File::open(&path)).map_err(failed("open", &path))? {
                let scan = scan(io::BufReader::new(file), visit).map_err(failed("read", &path))?;
                describe(&path, &scan, notes);
            }
        }
        let path = files.current();
        let file = open_to_append(&path).map_err(failed("open", &path))?;
        let scan = scan(io::BufReader::new(&file), visit).map_err(failed("read", &path))?;
        describe(&path, &scan, notes);
        if scan.torn > 0 {
            file.set_len(scan.sound).map_err(failed("cut the torn end off", &path))?;
            notes.push(format!("{}: a torn end of {} bytes was cut off", path.display(), scan.torn));
        }
        // The process before may have died between writing a line and syncing it; from here on the line counts.
        file.sync_all().map_err(failed("sync", &path))?;
        let tail = Tail::new(file, scan.sound);
        Ok(Self { files, tail, dir_synced: false, rotate_bytes: ROTATE_BYTES })
    }

    /// Adds entries and syncs them to disk, all or none.
    pub(in crate::store) fn append(&mut self, entries: &[HistoryEntry]) -> Result<(), StoreError> {
        let lines = line::encode(entries)?;
        if self.tail.len() >= self.rotate_bytes {
            self.rotate();
        }
        self.sync_names()?;
        self.tail.append(lines.as_bytes()).map_err(failed("write", &self.files.current()))
    }

    /// A journal that cannot be rotated is still a journal: to refuse a rollback over its size would be worse.
    fn rotate(&mut self) {
        match self.files.rotate() {
            Ok(file) => {
                self.tail = Tail::new(file, 0);
                self.dir_synced = false;
            }
            Err(error) => tracing::warn!(
                %error, dir = %self.files.dir().display(),
                "The journal could not be rotated and grows on; check the state directory."
            ),
        }
    }

    fn sync_names(&mut self) -> Result<(), StoreError> {
        if !self.dir_synced {
            sync_dir(self.files.dir()).map_err(failed("make lasting the files in", self.files.dir()))?;
            self.dir_synced = true;
        }
        Ok(())
    }

    /// The files as they are now, for reading.
    pub(in crate::store) fn pages(&self) -> Result<Pages, StoreError> {
        let current = page(self.files.current(), Some(self.tail.len())).transpose();
        let rotated = self.files.rotated().filter_map(|path| page(path, None).transpose());
        Ok(Pages(current.into_iter().chain(rotated).collect::<Result<_, _>>()?))
    }
}

fn page(path: std::path::PathBuf, len: Option<u64>) -> Result<Option<Page>, StoreError> {
    let Some(file) = if_found(fs::File::open(&path)).map_err(failed("open", &path))? else {
        return Ok(None);
    };
    let len = match len {
        Some(len) => len,
        None => file.metadata().map_err(failed("read", &path))?.len(),
    };
    Ok(Some(Page { path, file, len }))
}

fn describe(path: &Path, scan: &Scan, notes: &mut Vec<String>) {
    let path = path.display();
    if scan.rotten > 0 {
        let Scan { rotten, first_rotten, .. } = scan;
        notes.push(format!("{path}: {rotten} unreadable line(s), the first is line {first_rotten}; they are skipped"));
    }
    if scan.foreign > 0 {
        notes.push(format!("{path}: {} line(s) of a newer verdigris are skipped", scan.foreign));
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
