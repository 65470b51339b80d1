//! Files that the config file names and that are read with it, such as golden requests: says when one is another.
//!
//! They may be large, so that they are looked at from outside: time, size and inode. A change is told once it has stood
//! still from one look to the next, since a writer may be at work. A file that is away is the file as it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What was seen of such files.
#[derive(Debug, Default)]
pub struct NamedFiles {
    /// As they were when they were told, or first seen.
    told: BTreeMap<PathBuf, Mark>,
    /// As they were at the last look.
    last: BTreeMap<PathBuf, Mark>,
}

/// What tells a file's content from another's, most likely.
type Mark = (Option<SystemTime>, u64, u64);

impl NamedFiles {
    /// Takes these files as they are now for known. Blocks on the disk.
    pub fn known(paths: &[PathBuf]) -> Self {
        let marks: BTreeMap<_, _> = paths.iter().filter_map(|path| Some((path.clone(), mark(path)?))).collect();
        Self { told: marks.clone(), last: marks }
    }

    /// One look at the files that are named now. True if one is another than what was told of it, and was the same at
    /// the last look; what was not named before is taken for known. Blocks on the disk.
    pub fn look(&mut self, paths: &[PathBuf]) -> bool {
        self.told.retain(|path, _| paths.contains(path));
        let mut changed = false;
        for path in paths {
            let Some(mark) = mark(path) else { continue };
            let settled = self.last.insert(path.clone(), mark) == Some(mark);
            let told = self.told.entry(path.clone()).or_insert(mark);
            if *told != mark && settled {
                *told = mark;
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
        let mut files = NamedFiles::known(&paths);
        assert!(!files.look(&paths));
        fs::write(&paths[0], "12").unwrap();
        assert!(!files.look(&paths), "it may be half a file");
        fs::write(&paths[0], "123").unwrap();
        assert!(!files.look(&paths), "somebody still writes");
        assert!(files.look(&paths) && !files.look(&paths));

        fs::remove_file(&paths[0]).unwrap();
        assert!(!files.look(&paths) && !files.look(&paths), "one that is away is as it was");
        fs::write(directory.path().join("new"), "4567").unwrap();
        fs::rename(directory.path().join("new"), &paths[0]).unwrap();
        assert!(!files.look(&paths) && files.look(&paths));
        fs::write(&paths[1], "1").unwrap();
        assert!(!files.look(&paths) && !files.look(&paths), "one that was not there before is new");
    }
}
