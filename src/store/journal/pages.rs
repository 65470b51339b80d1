//! Reading the journal from its end: the newest entries of one service.

use std::{fs, io, os::unix::fs::FileExt as _, path::PathBuf};

use super::line::{self, Line};
use crate::{
    api::HistoryEntry,
    ids::ServiceName,
    store::{StoreError, disk::failed},
};

/// The journal's files at one instant, newest first. They stay what they are while the journal goes on.
#[derive(Debug)]
pub(in crate::store) struct Pages(pub(super) Vec<Page>);

/// One file, opened.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) path: PathBuf,
    pub(super) file: fs::File,
    /// The bytes to read; what follows them is not acknowledged yet.
    pub(super) len: u64,
}

impl Pages {
    /// The newest `limit` entries of `service`, newest first.
    pub(in crate::store) fn newest(self, service: &ServiceName, limit: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        let mut found = Vec::new();
        for Page { path, file, len } in self.0 {
            let mut lines = Backwards::new(file, len);
            while found.len() < limit
                && let Some(line) = lines.next_line().map_err(failed("read", &path))?
            {
                match line::decode(&line) {
                    Line::Entry(entry) if entry.service == *service => found.push(*entry),
                    Line::Entry(_) | Line::Foreign | Line::Rotten => {}
                }
            }
        }
        Ok(found)
    }
}

/// The lines of a file, last first.
struct Backwards {
    file: fs::File,
    /// Where `held` begins in the file.
    start: u64,
    /// The end of the file as far as it was read and not yet given out.
    held: Vec<u8>,
}

impl Backwards {
    /// Bytes read at once; more when a line is longer.
    const PIECE: usize = 64 * 1024;

    fn new(file: fs::File, len: u64) -> Self {
        Self { file, start: len, held: Vec::new() }
    }

    /// The next line towards the start, with its newline if it has one.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        // The last byte is the line's own newline.
        let mut unsearched = self.held.len().saturating_sub(1);
        loop {
            if let Some(newline) = self.held[..unsearched].iter().rposition(|&byte| byte == b'\n') {
                return Ok(Some(self.held.split_off(newline + 1)));
            }
            if self.start == 0 {
                let first = std::mem::take(&mut self.held);
                return Ok((!first.is_empty()).then_some(first));
            }
            let fresh = self.held.is_empty();
            let read = self.read_piece()?;
            unsearched = if fresh { read - 1 } else { read };
        }
    }

    /// Puts the piece before `held` in front of it. Pieces grow with what is held, so a long line costs no more than
    /// a few times its length.
    fn read_piece(&mut self) -> io::Result<usize> {
        let piece = Self::PIECE.max(self.held.len());
        let size = usize::try_from(self.start).map_or(piece, |start| start.min(piece));
        let mut bytes = vec![0; size];
        self.start -= size as u64;
        self.file.read_exact_at(&mut bytes, self.start)?;
        bytes.append(&mut self.held);
        self.held = bytes;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backwards(bytes: &[u8]) -> Vec<Vec<u8>> {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), bytes).unwrap();
        let mut lines = Backwards::new(fs::File::open(path.path()).unwrap(), bytes.len() as u64);
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn lines_come_back_in_reverse_whatever_their_length() {
        let piece = Backwards::PIECE;
        for lengths in [vec![], vec![1], vec![1, 1, 5], vec![piece, 1, piece - 1, 3 * piece + 7, 2], vec![4, 5 * piece]]
        {
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for (length, letter) in lengths.iter().zip(b'a'..) {
                let mut line = vec![letter; length - 1];
                line.push(b'\n');
                lines.push(line);
            }
            for end in [&b""[..], &b"torn"[..]] {
                let mut expected = lines.clone();
                expected.extend((!end.is_empty()).then(|| end.to_vec()));
                let whole = expected.concat();
                expected.reverse();
                assert!(backwards(&whole) == expected, "lengths {lengths:?}, end {end:?}");
            }
        }
    }
}
