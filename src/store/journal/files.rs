//! The names of the journal's files, and moving them on.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How many files are kept besides the one that is written.
pub(super) const KEPT: usize = 4;

/// Where the journal's files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that is written.
    pub(super) fn current(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    /// The rotated files, newest first. Not all of them need to exist.
    pub(super) fn rotated(&self) -> impl DoubleEndedIterator<Item = PathBuf> {
        (1..=KEPT).map(|number| self.numbered(number))
    }

    fn numbered(&self, number: usize) -> PathBuf {
        self.dir.join(format!("journal.{number}.jsonl"))
    }

    /// Gives the current file the number 1 and puts a new, empty one in its place, which is returned.
    /// The directory is not synced yet.
    ///
    /// After an error the file that was current may still be appended to, and no entry is lost.
    pub(super) fn rotate(&self) -> io::Result<fs::File> {
        let fresh_path = self.dir.join("journal.jsonl.tmp");
        let fresh = fs::File::create(&fresh_path).and_then(|_| open_to_append(&fresh_path))?;
        self.free_first_number()?;
        fs::rename(self.current(), self.numbered(1))?;
        if let Err(error) = fs::rename(&fresh_path, self.current()) {
            // If this fails too, the file goes on under its number, and the next start creates a current one.
            let _ = fs::rename(self.numbered(1), self.current());
            return Err(error);
        }
        Ok(fresh)
    }

    /// Only files up to the first free number move, so that a rotation that fails again and again drops nothing.
    fn free_first_number(&self) -> io::Result<()> {
        let mut free = 1;
        while free < KEPT && self.numbered(free).try_exists()? {
            free += 1;
        }
        (1..free).rev().try_for_each(|number| fs::rename(self.numbered(number), self.numbered(number + 1)))
    }
}

/// Opens a file for reading, and for writing at its end only; creates it if it is missing.
pub(super) fn open_to_append(path: &Path) -> io::Result<fs::File> {
    fs::File::options().read(true).append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::dir;

    fn contents(files: &Files) -> Vec<String> {
        files.rotated().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    #[test]
    fn the_oldest_of_five_goes() {
        let dir = dir();
        let files = Files::new(dir.path());
        for text in ["a", "b", "c", "d", "e", "f"] {
            fs::write(files.current(), text).unwrap();
            files.rotate().unwrap();
            assert_eq!(fs::read_to_string(files.current()).unwrap(), "");
        }
        assert_eq!(contents(&files), ["f", "e", "d", "c"]);
    }

    #[test]
    fn a_rotation_that_keeps_failing_drops_nothing() {
        let dir = dir();
        let files = Files::new(dir.path());
        for text in ["a", "b", "c"] {
            fs::write(files.current(), text).unwrap();
            files.rotate().unwrap();
        }
        fs::remove_file(files.current()).unwrap();
        for _ in 0..5 {
            assert!(files.rotate().is_err());
        }
        assert_eq!(contents(&files), ["", "c", "b", "a"]);
    }
}
