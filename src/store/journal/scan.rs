//! Reading a journal file from its start: every entry, and what is wrong with the rest.

use std::io;

use super::line::{self, Line};
use crate::api::HistoryEntry;

/// What a file holds besides entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes up to the end of the last line that is as it was written.
    pub(super) sound: u64,
    /// Bytes after that: a torn tail.
    pub(super) torn: u64,
    /// Lines before the tail that are not as they were written.
    pub(super) rotten: u64,
    /// The number of the first of these, from 1.
    pub(super) first_rotten: u64,
    /// Lines that only a newer version understands.
    pub(super) foreign: u64,
}

/// Shows every entry to `visit`, oldest first.
pub(super) fn scan(mut file: impl io::BufRead, visit: &mut dyn FnMut(&HistoryEntry)) -> io::Result<Scan> {
    let mut scan = Scan::default();
    // Bad lines since the last sound one: a torn tail if nothing sound follows, else rotten.
    let mut bad = 0;
    let mut bad_bytes = 0;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = file.read_until(b'\n', &mut bytes)? as u64;
        if read == 0 {
            break;
        }
        match if bytes.ends_with(b"\n") { line::decode(&bytes) } else { Line::Rotten } {
            Line::Rotten => {
                bad += 1;
                bad_bytes += read;
                continue;
            }
            Line::Entry(entry) => visit(&entry),
            Line::Foreign => scan.foreign += 1,
        }
        if bad > 0 && scan.rotten == 0 {
            scan.first_rotten = number - bad;
        }
        scan.rotten += bad;
        scan.sound += bad_bytes + read;
        (bad, bad_bytes) = (0, 0);
    }
    scan.torn = bad_bytes;
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{samples::switched, seal::seal};

    #[test]
    fn bad_lines_are_rotten_inside_and_torn_at_the_end() {
        let entries = [switched("a", 1), switched("a", 2)];
        let good = line::encode(&entries).unwrap();
        let foreign = seal("entry", "{}");
        let file = format!("rot\n{good}\n\n{foreign}x\ny");
        let mut seen = Vec::new();
        let scan = scan(file.as_bytes(), &mut |entry| seen.push(entry.clone())).unwrap();
        assert_eq!(seen, entries);
        let sound = (file.len() - 3) as u64;
        assert_eq!(scan, Scan { sound, torn: 3, rotten: 3, first_rotten: 1, foreign: 1 });
    }
}
