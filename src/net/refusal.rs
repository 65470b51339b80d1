//! Requests that end before there is one: hyper, the head's scan or the patrol refuses a head, and the client is told
//! so in the proxy's own words, which are counted like every other failure.

use std::net::IpAddr;

use bytes::Bytes;

use crate::telemetry::FailureKind;

/// Finds the words for a refused head. Implemented where answers are made.
pub trait Refusals {
    /// The whole answer, which says that the connection closes; the refusal is counted.
    fn refuse(&self, peer: IpAddr, kind: FailureKind) -> Bytes;
}

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) bytes_max: usize,
    pub(super) fields_max: usize,
}

impl HeadLimits {
    /// For a stream on which no head is read.
    pub(super) const NONE: Self = Self { bytes_max: usize::MAX, fields_max: usize::MAX };

    /// Why hyper refused a head of so many lines and bytes: it has one word for all that is too large.
    pub(super) fn judge(&self, said: FailureKind, lines: u32, bytes: usize, is_whole: bool) -> FailureKind {
        match said {
            FailureKind::HeadersTooLarge if lines == 0 && bytes > 0 => FailureKind::UriTooLong,
            FailureKind::HeadersTooLarge
                if is_whole && bytes <= self.bytes_max && lines as usize <= self.fields_max + 1 =>
            {
                // A Content-Length near 2^64.
                FailureKind::BadRequest
            }
            other => other,
        }
    }
}

/// hyper's own answers to heads that it cannot read.
const AUTOMATIC: [(&[u8], FailureKind); 3] = [
    (b"HTTP/1.1 400 Bad Request\r\n", FailureKind::BadRequest),
    (b"HTTP/1.1 414 URI Too Long\r\n", FailureKind::UriTooLong),
    (b"HTTP/1.1 431 Request Header Fields Too Large\r\n", FailureKind::HeadersTooLarge),
];

/// What hyper is about to refuse, if these bytes are such an answer and nothing else. Answers of servers and of the
/// proxy always have more fields than hyper's own.
pub(super) fn automatic(bytes: &[u8]) -> Option<FailureKind> {
    let (line, kind) = AUTOMATIC.iter().find(|(line, _)| bytes.starts_with(line))?;
    let fields = bytes[line.len()..].strip_suffix(b"\r\n\r\n")?;
    let known: [&[u8]; 3] = [b"connection: close", b"content-length: 0", b"date: "];
    let mut lines = fields.split(|byte| *byte == b'\n');
    lines.all(|line| known.iter().any(|known| line.starts_with(known))).then_some(*kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_answers_are_taken_for_them() {
        let own = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(automatic(own), Some(FailureKind::BadRequest));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: 1\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert_eq!(automatic(other), None, "{:?}", String::from_utf8_lossy(other));
        }
    }
}
