//! `state.json`: replaced as a whole, checked when read, with the one before it kept as `state.json.old`.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    STATE_VERSION, State, StoreError,
    disk::{failed, if_found, sync_dir},
    seal::{seal, unseal},
};

/// The paths of the state file and its companions.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    dir: PathBuf,
    current: PathBuf,
    /// The state before the last save.
    old: PathBuf,
    /// The state that is being written.
    fresh: PathBuf,
}

/// What a path holds.
enum Found {
    Missing,
    Whole(State),
    /// Not a state; the reason in words.
    Broken(String),
}

impl StateFile {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            current: dir.join("state.json"),
            old: dir.join("state.json.old"),
            fresh: dir.join("state.json.tmp"),
        }
    }

    /// Replaces the state on disk. After an error the disk holds the new state or the one before it, whole.
    pub(super) fn save(&self, state: &State) -> Result<(), StoreError> {
        debug_assert_eq!(state.version, STATE_VERSION, "a state in memory is of the version this program writes");
        let payload =
            serde_json::to_string(state).map_err(|source| StoreError::Encode { what: "the state", source })?;
        self.write_fresh(&seal("state", &payload)).map_err(failed("write", &self.fresh))?;
        self.keep_previous().map_err(failed("keep the previous state as", &self.old))?;
        fs::rename(&self.fresh, &self.current).map_err(failed("replace", &self.current))?;
        sync_dir(&self.dir).map_err(failed("make lasting the files in", &self.dir))
    }

    fn write_fresh(&self, text: &str) -> io::Result<()> {
        let mut file = fs::File::create(&self.fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// The current file also gets the name of the old one, so that no instant is without a whole file. Where there is
    /// no current file, because it was set aside, the old one is the only good one and stays. Some file systems have
    /// no hard links; there the current file is renamed, and until the fresh one takes its place the old one is read.
    fn keep_previous(&self) -> io::Result<()> {
        if !self.current.try_exists()? {
            return Ok(());
        }
        if_found(fs::remove_file(&self.old))?;
        fs::hard_link(&self.current, &self.old).or_else(|_| fs::rename(&self.current, &self.old))
    }

    /// Reads the state back, from the file before the last save if need be, and says in `notes` what was not as it
    /// should be. What is broken is moved aside as `….corrupt`, so that it can be looked at and is not met again.
    ///
    /// Fails if a file may not be read or is of a newer format: to go on without it would move traffic.
    pub(super) fn load(&self, notes: &mut Vec<String>) -> Result<Option<State>, StoreError> {
        let broken = match read(&self.current)? {
            Found::Whole(state) => return Ok(Some(state)),
            Found::Missing => false,
            Found::Broken(why) => {
                self.set_aside(&self.current, &why, notes)?;
                true
            }
        };
        match read(&self.old)? {
            Found::Whole(state) => {
                notes.push(format!("{} is used: the state before the last save", self.old.display()));
                return Ok(Some(state));
            }
            Found::Missing if !broken => return Ok(None),
            Found::Missing => {}
            Found::Broken(why) => self.set_aside(&self.old, &why, notes)?,
        }
        notes.push("THE STATE IS LOST: no state file can be read, so traffic follows the config file".to_owned());
        Ok(None)
    }

    fn set_aside(&self, path: &Path, why: &str, notes: &mut Vec<String>) -> Result<(), StoreError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".corrupt");
        let aside = PathBuf::from(aside);
        fs::rename(path, &aside).map_err(failed("move aside", path))?;
        sync_dir(&self.dir).map_err(failed("make lasting the files in", &self.dir))?;
        notes.push(format!("{} is corrupt ({why}) and was moved to {}", path.display(), aside.display()));
        Ok(())
    }
}

fn read(path: &Path) -> Result<Found, StoreError> {
    match if_found(fs::read(path)) {
        Ok(None) => Ok(Found::Missing),
        Ok(Some(bytes)) => decode(&bytes, path),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => Err(failed("read", path)(source)),
        Err(error) => Ok(Found::Broken(error.to_string())),
    }
}

fn decode(bytes: &[u8], path: &Path) -> Result<Found, StoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Some(payload) = unseal(bytes) else {
        return Ok(Found::Broken("cut short, or its checksum is wrong".to_owned()));
    };
    match serde_json::from_str(payload) {
        Ok(Version { version: STATE_VERSION }) => {}
        Ok(Version { version: found }) if found > STATE_VERSION => {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: STATE_VERSION });
        }
        Ok(Version { version }) => return Ok(Found::Broken(format!("there is no state format {version}"))),
        Err(error) => return Ok(Found::Broken(error.to_string())),
    }
    Ok(match serde_json::from_str(payload) {
        Ok(state) => Found::Whole(state),
        Err(error) => Found::Broken(error.to_string()),
    })
}

#[cfg(test)]
#[path = "state_file_tests.rs"]
mod tests;
