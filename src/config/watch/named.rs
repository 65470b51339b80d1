//! Files that the config file names and that are read with it, such as golden requests: says when one is another.
//!
//! They may be large, so that they are looked at from outside: time, size and inode, as they were just before they were
//! read and as they are now. A change is told once it has stood still from one look to the next, since a writer may be at
//! work. A file that is away is the file as it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How files stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<PathBuf, Option<Mark>>);

/// What tells a file's content from another's, most likely.
type Mark = (Option<SystemTime>, u64, u64);

impl Marks {
    /// How these files stand now. Taken before they are read, so that no change from then on is missed. Blocks on the
    /// disk.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        let mut marks = BTreeMap::new();
        for path in paths {
            // Thousands of services may well name the same file.
            if !marks.contains_key(path) {
                marks.insert(path.clone(), mark(path));
            }
        }
        Self(marks)
    }
}

/// What was seen of such files.
#[derive(Debug, Default)]
pub struct NamedFiles {
    /// The changes that were told: of a file that is refused, once.
    told: BTreeMap<PathBuf, Mark>,
    /// As they were at the last look.
    last: BTreeMap<PathBuf, Mark>,
}

impl NamedFiles {
    /// One look at the files that are in force, with how they stood when they were `read`. True if one is another now and
    /// was the same at the last look, and that was not told yet. Blocks on the disk.
    pub fn look(&mut self, read: &Marks) -> bool {
        self.told.retain(|path, _| read.0.contains_key(path));
        self.last.retain(|path, _| read.0.contains_key(path));
        let mut changed = false;
        for (path, read) in &read.0 {
            let Some(mark) = mark(path) else { continue };
            let settled = self.last.insert(path.clone(), mark) == Some(mark);
            if settled && *read != Some(mark) && self.told.insert(path.clone(), mark) != Some(mark) {
                changed = true;
            }
        }
        changed
    }
}

/// `None` if it is away, or is no file.
fn mark(path: &Path) -> Option<Mark> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((about.modified().ok(), about.len(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: a change is missed, told twice, or told while somebody still writes.
    #[test]
    fn a_change_is_told_once_it_stands_still() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&paths[0], "1").unwrap();
        let (read, mut files) = (Marks::of(&paths), NamedFiles::default());
        let mut look = || files.look(&read);
        assert!(!look());
        fs::write(&paths[0], "12").unwrap();
        assert!(!look(), "it may be half a file");
        fs::write(&paths[0], "123").unwrap();
        assert!(!look(), "somebody still writes");
        assert!(look() && !look());

        fs::remove_file(&paths[0]).unwrap();
        assert!(!look() && !look(), "one that is away is as it was");
        fs::write(directory.path().join("new"), "4567").unwrap();
        fs::rename(directory.path().join("new"), &paths[0]).unwrap();
        assert!(!look() && look());
        fs::write(&paths[1], "1").unwrap();
        assert!(!look() && look(), "one that was not there when it was to be read");
    }

    /// Fails when: `look` takes a file that it has not seen before for known, whatever it was when it was read.
    #[test]
    fn a_change_between_reading_and_the_first_look_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        for path in [&old, &new] {
            fs::write(path, "1").unwrap();
        }
        let mut files = NamedFiles::default();
        assert!(!files.look(&Marks::of([&old])));
        let read = Marks::of([&old, &new]);
        fs::write(&new, "12").unwrap();
        assert!(!files.look(&read) && files.look(&read) && !files.look(&read));
        assert!(!files.look(&Marks::of([&old, &new])), "it was read anew");
    }

    /// Fails when: a file that several services name is looked at once for each, so that it seems to stand still.
    #[test]
    fn a_file_that_is_named_twice_is_looked_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "1").unwrap();
        let (read, mut files) = (Marks::of([&path, &path]), NamedFiles::default());
        fs::write(&path, "12").unwrap();
        assert!(!files.look(&read), "it may be half a file");
        assert!(files.look(&read));
    }
}
