//! A look at the raw bytes of a request head, for what hyper lets pass or throws away before anybody could see it.
//!
//! hyper's parser takes a lone LF for a line's end, cuts `#…` off the target, and refuses `HTTP/1.2`, which RFC 9110
//! section 2.5 wants to be read as 1.1. hyper stays the parser: here nothing is understood, a head is only refused or
//! its minor version written down as 1. One search for line ends a head is all that it costs.

/// Bytes of a request line that ends in a version.
const VERSION_BYTES: usize = "HTTP/1.1".len();

const CODING: &[u8] = b"transfer-encoding:";

/// What was seen of the head that is being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadScan {
    /// Where in the connection's bytes the head begins.
    start: u64,
    /// Complete lines so far, empty ones before the request line not counted.
    lines: u32,
    /// Bytes of the line that is not complete.
    line_bytes: usize,
    last: u8,
    bytes: usize,
    in_target: bool,
    /// How much of the line's beginning is that of Transfer-Encoding.
    coding_bytes: usize,
    has_coding: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Whole,
    /// It is not known where the head began; nothing is said about it.
    Blind,
}

/// The head must not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line ends in LF without CR (RFC 9112 section 2.2).
    BareLineFeed,
    /// The target has a fragment (RFC 9112 section 3.2).
    Fragment,
}

impl HeadScan {
    /// A scan of the head that begins at this place, if one is known to begin there. Pipelined heads that came
    /// together with a body may not be.
    pub(super) fn at(start: u64, is_known: bool) -> Self {
        let state = if is_known { State::Open } else { State::Blind };
        Self { start, state, ..Self::default() }
    }

    /// True until the end of the head was seen.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True if a Transfer-Encoding was seen.
    pub(super) fn has_coding(&self) -> bool {
        self.has_coding
    }

    /// Where the head ends, once it has.
    pub(super) fn end(&self) -> Option<u64> {
        (self.state == State::Whole).then_some(self.start + self.bytes as u64)
    }

    /// Complete lines, and bytes in all.
    pub(super) fn extent(&self) -> (u32, usize) {
        (self.lines, self.bytes)
    }

    /// Looks at the next bytes of a connection; what follows the head is not looked at. A request line that comes in
    /// one piece has its minor version lowered to 1.
    pub(super) fn feed(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut start = 0;
        while self.is_open() && start < bytes.len() {
            let rest = &mut bytes[start..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.note_part(rest)?;
                return Ok(());
            };
            self.note_line(&mut rest[..end])?;
            start += end + 1;
        }
        Ok(())
    }

    fn note_part(&mut self, part: &[u8]) -> Result<(), Fault> {
        match self.lines {
            0 => self.note_target(part)?,
            _ => self.note_coding(part),
        }
        self.line_bytes += part.len();
        self.bytes += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
        Ok(())
    }

    /// The name may come in pieces.
    fn note_coding(&mut self, part: &[u8]) {
        if self.coding_bytes != self.line_bytes {
            return;
        }
        let rest = &CODING[self.coding_bytes..];
        self.coding_bytes += rest.iter().zip(part).take_while(|(name, byte)| name.eq_ignore_ascii_case(byte)).count();
        self.has_coding |= self.coding_bytes == CODING.len();
    }

    /// Methods may have a `#`, targets may not.
    fn note_target(&mut self, part: &[u8]) -> Result<(), Fault> {
        let method = part.iter().position(|byte| *byte == b' ').filter(|_| !self.in_target);
        self.in_target |= method.is_some();
        let target = &part[method.unwrap_or_default()..];
        if self.in_target && memchr::memchr(b'#', target).is_some() { Err(Fault::Fragment) } else { Ok(()) }
    }

    /// A line without its LF; its first part may have come before.
    fn note_line(&mut self, line: &mut [u8]) -> Result<(), Fault> {
        let is_whole = self.line_bytes == 0;
        if is_whole && self.lines > 0 && is_ordinary(line) {
            self.bytes += line.len() + 1;
            self.lines += 1;
            return Ok(());
        }
        self.note_part(line)?;
        self.bytes += 1;
        if self.last != b'\r' {
            return Err(Fault::BareLineFeed);
        }
        let is_empty = self.line_bytes == 1;
        self.line_bytes = 0;
        self.coding_bytes = 0;
        self.last = 0;
        if is_empty {
            // Empty lines before the request line are passed over (RFC 9112 section 2.2).
            if self.lines > 0 {
                self.state = State::Whole;
            }
            return Ok(());
        }
        if self.lines == 0 && is_whole {
            lower_minor_version(line);
        }
        self.lines += 1;
        Ok(())
    }
}

/// True if a whole line after the first is a field that is nobody's concern here, and ends as it should: most are.
fn is_ordinary(line: &[u8]) -> bool {
    matches!(line, [first, .., b'\r'] if !matches!(first, b't' | b'T'))
}

/// `HTTP/1.2` and above are read as the highest minor version that is known (RFC 9110 section 2.5).
fn lower_minor_version(line: &mut [u8]) {
    let Some(start) = line.len().checked_sub(VERSION_BYTES + 1) else { return };
    if let [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9', b'\r'] =
        &mut line[start.saturating_sub(1)..]
    {
        *minor = b'1';
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> (Result<(), Fault>, String, bool) {
        let mut bytes = text.as_bytes().to_vec();
        let mut scan = HeadScan::default();
        let result = scan.feed(&mut bytes);
        (result, String::from_utf8(bytes).unwrap(), scan.is_open())
    }

    #[test]
    fn only_what_hyper_lets_pass_is_refused() {
        for (text, fault) in [
            ("GET / HTTP/1.1\r\nhost: h\r\n\r\n", None),
            ("\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nx: #\r\n\r\n", None),
            ("G#T / HTTP/1.1\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nhost: h\r\n\r\nany\nbody # here", None),
            ("GET /#f HTTP/1.1\r\nhost: h\r\n\r\n", Some(Fault::Fragment)),
            ("GET /#f", Some(Fault::Fragment)),
            ("GET / HTTP/1.1\nhost: h\r\n\r\n", Some(Fault::BareLineFeed)),
            ("GET / HTTP/1.1\r\nhost: h\n\r\n", Some(Fault::BareLineFeed)),
            ("GET / HTTP/1.1\r\nhost: h\r\n\n", Some(Fault::BareLineFeed)),
            ("\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", Some(Fault::BareLineFeed)),
        ] {
            assert_eq!(scan(text).0.err(), fault, "{text:?}");
        }
        assert!(!scan("GET / HTTP/1.1\r\nhost: h\r\n\r\n").2);
        assert!(scan("GET / HTTP/1.1\r\nhost: h\r\n").2);
    }

    #[test]
    fn a_coding_is_seen_whatever_the_pieces() {
        let text = "POST / HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        for cut in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            let (first, second) = bytes.split_at_mut(cut);
            let mut scan = HeadScan::default();
            scan.feed(first).and_then(|()| scan.feed(second)).unwrap();
            assert!(scan.has_coding(), "cut at {cut}");
        }
        let mut scan = HeadScan::default();
        scan.feed(&mut b"POST / HTTP/1.1\r\nx-transfer-encoding: a\r\ntransfer-encodin: a\r\n\r\n".to_vec()).unwrap();
        assert!(!scan.has_coding());
    }

    #[test]
    fn later_minor_versions_are_read_as_the_first() {
        for (line, read) in [
            ("GET / HTTP/1.2\r\n", "GET / HTTP/1.1\r\n"),
            ("GET / HTTP/1.9\r\n", "GET / HTTP/1.1\r\n"),
            ("GET / HTTP/1.0\r\n", "GET / HTTP/1.0\r\n"),
            ("GET / HTTP/2.0\r\n", "GET / HTTP/2.0\r\n"),
            ("HTTP/1.2\r\n", "HTTP/1.2\r\n"),
            ("X\r\n", "X\r\n"),
        ] {
            assert_eq!(scan(line).1, read);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Fails when: the pieces in which a head comes decide what is thought of it, or strange bytes make a panic.
        #[test]
        fn pieces_make_no_difference(text in "(GET|[\\x00-\\xff]{0,4}) /[a#/]{0,3} HTTP/1.[0-3](\r?\n|[a-z:# \r\n\\x00]){0,40}", cut in 0usize..60) {
            let mut whole = HeadScan::default();
            let at_once = whole.feed(&mut text.clone().into_bytes());
            let mut bytes = text.into_bytes();
            let cut = cut.min(bytes.len());
            let (first, second) = bytes.split_at_mut(cut);
            let mut pieces = HeadScan::default();
            let in_two = pieces.feed(first).and_then(|()| pieces.feed(second));
            prop_assert_eq!(at_once, in_two);
            if at_once.is_ok() {
                prop_assert_eq!(whole.extent(), pieces.extent());
                prop_assert_eq!(whole.is_open(), pieces.is_open());
                prop_assert_eq!(whole.has_coding(), pieces.has_coding());
            }
        }
    }
}
