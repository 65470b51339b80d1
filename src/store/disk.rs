//! The few things that must be done the same way each time a file is touched.

use std::{fs, io, path::Path};

use super::StoreError;

/// Turns an I/O error into one that names what was tried and where.
pub(super) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Disk { doing, path: path.to_owned(), source }
}

/// Makes renames, links and new files in `dir` survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// `Ok(None)` in place of "not found".
pub(super) fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
