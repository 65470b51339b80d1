//! An incremental parser of `text/event-stream` (WHATWG HTML, section 9.2.6), fed with pieces and their time.

use std::time::Duration;

/// One event: what stands before an empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty if there was none.
    pub event: String,
    /// All `data` fields, with line feeds between them.
    pub data: String,
    /// When the piece with its last line end arrived.
    pub at: Duration,
}

/// A stream that is not worth its memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("a line of the event stream is longer than {LINE_BYTES_MAX} bytes")]
    LongLine,
    #[error("an event is larger than {EVENT_BYTES_MAX} bytes")]
    LargeEvent,
    #[error("more than {EVENTS_MAX} events")]
    ManyEvents,
}

/// Takes pieces of a stream, however they are cut: inside a CRLF, the byte order mark or a character.
#[derive(Clone, Debug, Default)]
pub struct SseParser {
    /// The line so far, without its end.
    line: Vec<u8>,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// A line has ended; the byte order mark can stand only in the first.
    past_first_line: bool,
    event: String,
    data: String,
    has_data: bool,
    dispatched: usize,
}

impl SseParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece and adds the events that end in it.
    ///
    /// # Errors
    /// A line, an event or the number of events is past its limit; the parser is of no use afterwards.
    pub fn feed(&mut self, mut piece: &[u8], at: Duration, into: &mut Vec<SseEvent>) -> Result<(), SseError> {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_cr) && piece[0] == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.extend_line(&piece[..end.unwrap_or(piece.len())])?;
            let Some(end) = end else { return Ok(()) };
            self.after_cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            self.end_line(at, into)?;
        }
        Ok(())
    }

    /// Whether the stream ends here in the middle of an event, which is lost.
    pub fn is_unfinished(&self) -> bool {
        !self.line.is_empty() || self.has_data || !self.event.is_empty()
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(SseError::LongLine);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, at: Duration, into: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let line = std::mem::take(&mut self.line);
        let mark = if self.past_first_line { None } else { line.strip_prefix(BYTE_ORDER_MARK) };
        self.past_first_line = true;
        let text = String::from_utf8_lossy(mark.unwrap_or(&line));
        if text.is_empty() {
            return self.dispatch(at, into);
        }
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value))
    }

    /// A comment has no name; `id` and `retry` are for browsers.
    fn field(&mut self, name: &str, value: &str) -> Result<(), SseError> {
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() >= EVENT_BYTES_MAX {
                    return Err(SseError::LargeEvent);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// An event without data is none.
    fn dispatch(&mut self, at: Duration, into: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        if !std::mem::take(&mut self.has_data) {
            return Ok(());
        }
        self.dispatched += 1;
        if self.dispatched > EVENTS_MAX {
            return Err(SseError::ManyEvents);
        }
        into.push(SseEvent { event, data, at });
        Ok(())
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
const EVENT_BYTES_MAX: usize = 4 << 20;
const EVENTS_MAX: usize = 100_000;
