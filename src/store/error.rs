//! Why something could not be stored or read back.

use std::{io, path::PathBuf};

/// What went wrong, where, and what to do about it. The cause is in `source`, not in the text.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the state directory {} is in use by another verdigris process: stop that process, or give this one \
         a directory of its own with `dir` under [state]",
        dir.display()
    )]
    Locked { dir: PathBuf },

    #[error("cannot {doing} {}: {}", path.display(), advice(source.kind()))]
    Disk {
        /// A verb phrase, such as `write the journal`.
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error(
        "{} was written by a newer verdigris (state format {found}, this one knows {known}): run that version, \
         or move the file away to start from the config file",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },

    #[error("cannot put {what} into JSON")]
    Encode { what: &'static str, source: serde_json::Error },
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "let this user read and write the state directory and all files in it",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk or quota is full; make room",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; name a writable `dir` under [state]",
        io::ErrorKind::NotADirectory => "a part of the path is not a directory; correct `dir` under [state]",
        _ => "check the state directory and the disk it is on",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_refused_permission_names_the_path_and_keeps_its_cause() {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = StoreError::Disk { doing: "write the journal", path: "/srv/state/journal.jsonl".into(), source };
        let text = error.to_string();
        assert!(text.starts_with("cannot write the journal /srv/state/journal.jsonl: "), "{text}");
        assert!(text.contains("let this user read and write"), "{text}");
        assert!(error.source().is_some());
    }
}
