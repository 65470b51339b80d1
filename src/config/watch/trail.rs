//! The directories on the way to a file: where any part of its path, or any hop of a symlink on it, could be replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

/// What tells a directory from another of the same name. The time of its birth, because its number may be given to the
/// next one when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    number: u64,
    born: SystemTime,
}

/// The [`directories`] as they are now; `None` where there is none, or where the file system does not tell births.
pub(super) fn identities(path: &Path) -> BTreeMap<PathBuf, Option<Identity>> {
    directories(path).into_iter().map(|directory| (directory.clone(), identity(&directory))).collect()
}

fn identity(directory: &Path) -> Option<Identity> {
    let found = fs::metadata(directory).ok()?;
    Some(Identity { device: found.dev(), number: found.ino(), born: found.created().ok()? })
}

/// Walks the path as the kernel would and notes each directory in which a name is looked up. What does not exist (yet)
/// ends the walk with what was found: those directories will see it appear.
pub(super) fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut at = PathBuf::new();
    let mut ahead = parts(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let mut hops = 0;
    while let Some(part) = ahead.pop() {
        match part {
            Part::Root => at = PathBuf::from("/"),
            Part::Parent => _ = at.pop(),
            Part::Name(name) => {
                found.insert(at.clone());
                let next = at.join(name);
                match fs::read_link(&next) {
                    Ok(target) if hops < HOPS_MAX => {
                        hops += 1;
                        ahead.extend(parts(&target));
                    }
                    // Not a link, not there, or a circle of links.
                    _ => at = next,
                }
            }
        }
    }
    found
}

enum Part {
    Root,
    Parent,
    Name(PathBuf),
}

/// The parts of a path, last one first: a stack to pop from.
fn parts(path: &Path) -> Vec<Part> {
    let part = |component: Component<'_>| match component {
        Component::RootDir | Component::Prefix(_) => Some(Part::Root),
        Component::ParentDir => Some(Part::Parent),
        Component::Normal(name) => Some(Part::Name(name.into())),
        Component::CurDir => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// The kernel's own limit.
const HOPS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The directories below `root`, without it.
    fn below(root: &Path, path: &str) -> Vec<String> {
        let inside = |directory: &PathBuf| directory.strip_prefix(root).ok().map(|rest| rest.display().to_string());
        directories(&root.join(path)).iter().filter_map(inside).collect()
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        (directory, path)
    }

    /// Fails when: a directory that takes another's place is taken for it, so that nobody watches it.
    #[test]
    fn a_directory_is_told_from_its_successor() {
        let (_keep, root) = root();
        let (place, before) = (root.join("current"), root.join("before"));
        fs::create_dir(&place).unwrap();
        let file = place.join("config.toml");
        let at = |directory: &Path| identities(&file)[directory];
        let (first, parent) = (at(&place), at(&root));
        fs::write(&file, "").unwrap();
        assert_eq!((at(&place), at(&root)), (first, parent), "what is in it does not count");
        fs::rename(&place, &before).unwrap();
        assert_eq!(at(&place), None);
        fs::create_dir(&place).unwrap();
        assert_ne!(at(&place), first);
        assert_eq!(at(&root), parent);
    }

    #[test]
    fn a_plain_file_has_its_parents() {
        let (_keep, root) = root();
        assert_eq!(below(&root, "etc/config.toml"), ["", "etc"]);
        assert!(directories(&root).contains(Path::new("/")), "up to the root");
    }

    #[test]
    fn kubernetes_mounts_are_followed_through_their_data_link() {
        let (_keep, root) = root();
        fs::create_dir(root.join("..2026_11")).unwrap();
        fs::write(root.join("..2026_11/config.toml"), "").unwrap();
        symlink("..2026_11", root.join("..data")).unwrap();
        symlink("..data/config.toml", root.join("config.toml")).unwrap();
        assert_eq!(below(&root, "config.toml"), ["", "..2026_11"]);
    }

    #[test]
    fn links_that_climb_or_are_absolute_are_followed() {
        let (_keep, root) = root();
        fs::create_dir_all(root.join("releases/2")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink(root.join("releases/2"), root.join("current")).unwrap();
        symlink("../current/config.toml", root.join("etc/config.toml")).unwrap();
        assert_eq!(below(&root, "etc/config.toml"), ["", "etc", "releases", "releases/2"]);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let (_keep, root) = root();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(below(&root, "a"), [""]);
    }
}
