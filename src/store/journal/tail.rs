//! The end of an append-only file: what was written whole stays, what was not goes.

use std::{fs, io, io::Write as _};

/// What the end of a file needs of its file.
pub(super) trait AppendFile {
    /// Writes all of `bytes` at the end, or fails with any part of them written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Shortens the file to `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Makes contents and length survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

impl AppendFile for fs::File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[derive(Debug)]
pub(super) struct Tail<F> {
    file: F,
    /// Bytes that were written and synced; the rest of the file, if any, is a refused write.
    len: u64,
    /// False while there may be bytes after `len`.
    clean: bool,
}

impl<F: AppendFile> Tail<F> {
    /// The end of `file`, which is `len` bytes long.
    pub(super) fn new(file: F, len: u64) -> Self {
        Self { file, len, clean: true }
    }

    /// The bytes that count.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends and syncs all of `bytes`, or takes back what was written of them and fails.
    ///
    /// If a disk refuses even the taking back, nothing is appended until it succeeds, so that no line ever starts in
    /// the middle of another.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.clean = false;
        if let Err(error) = self.file.write(bytes).and_then(|()| self.file.sync()) {
            // The first error is the one to report; this one would come back with the next append.
            let _ = self.mend();
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.clean = true;
        Ok(())
    }

    /// Cuts the file back to the bytes that count.
    fn mend(&mut self) -> io::Result<()> {
        if !self.clean {
            self.file.cut(self.len)?;
            self.file.sync()?;
            self.clean = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for `room` bytes, whose cuts and syncs can be made to fail.
    #[derive(Debug, Default)]
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        no_cut: bool,
        no_sync: bool,
    }

    fn ok_unless(broken: bool) -> io::Result<()> {
        if broken { Err(io::Error::other("broken")) } else { Ok(()) }
    }

    impl AppendFile for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend(&bytes[..fits]);
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn cut(&mut self, len: u64) -> io::Result<()> {
            ok_unless(self.no_cut)?;
            self.bytes.truncate(usize::try_from(len).unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            ok_unless(self.no_sync)
        }
    }

    #[test]
    fn a_partial_write_is_taken_back() {
        for room in 4..9 {
            let mut tail = Tail::new(Disk { room, ..Disk::default() }, 0);
            tail.append(b"one\n").unwrap();
            assert_eq!(tail.append(b"two.\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!((tail.file.bytes.as_slice(), tail.len()), (&b"one\n"[..], 4));
            tail.file.room = 100;
            tail.append(b"three\n").unwrap();
            assert_eq!((tail.file.bytes.as_slice(), tail.len()), (&b"one\nthree\n"[..], 10));
        }
    }

    #[test]
    fn a_failed_sync_is_taken_back_even_if_only_later() {
        let mut tail = Tail::new(Disk { room: 100, ..Disk::default() }, 0);
        tail.append(b"one\n").unwrap();
        tail.file.no_sync = true;
        assert!(tail.append(b"two\n").is_err());
        tail.file.no_sync = false;
        tail.append(b"three\n").unwrap();
        assert_eq!(tail.file.bytes, b"one\nthree\n");
    }

    #[test]
    fn nothing_is_appended_to_half_a_line() {
        let mut tail = Tail::new(Disk { room: 2, no_cut: true, ..Disk::default() }, 0);
        assert!(tail.append(b"one\n").is_err());
        tail.file.room = 100;
        assert!(tail.append(b"two\n").is_err());
        assert_eq!(tail.file.bytes, b"on");
        tail.file.no_cut = false;
        tail.append(b"three\n").unwrap();
        assert_eq!(tail.file.bytes, b"three\n");
    }
}
