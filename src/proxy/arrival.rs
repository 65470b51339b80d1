//! What an answer's fields say of its framing, checked before a byte of it is passed on (RFC 9112 section 6).
//!
//! The parser settles where the body ends; it lets pass what it need not look at (the length of a HEAD's answer) and
//! what it reads past (a coding before `chunked`, a length repeated in one field). The next reader may see it otherwise.

use http::{HeaderMap, HeaderValue, Version, header, response::Parts};

use super::{answer::Failure, headers::Seen};
use crate::telemetry::FailureKind;

/// Whether the connection may serve another request after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    Safe,
    Never,
}

/// Brings the framing fields into the one form that may be passed on, and says whether the connection may be kept.
pub(super) fn settle(head: &mut Parts, seen: Seen) -> Result<Reuse, Failure> {
    let chunked = seen.has(Seen::TRANSFER_ENCODING) && is_chunked(&head.headers)?;
    let lengths = if seen.has(Seen::CONTENT_LENGTH) { settle_length(&mut head.headers)? } else { 0 };
    // Transfer-Encoding overrides, and only one of the two may be passed on (section 6.3).
    let ambiguous = chunked && lengths > 0;
    if ambiguous {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    if seen.has(Seen::TE) {
        // Says nothing in an answer (RFC 9110 section 10.1.4).
        head.headers.remove(header::TE);
    }
    // After an answer in HTTP/1.0 the HTTP library would speak HTTP/1.0 too, where a chunked request loses its body.
    let old = head.version == Version::HTTP_10;
    // uvicorn closes silently after a 500: the next request must not find that out.
    let safe = !ambiguous && !old && !head.status.is_server_error();
    Ok(if safe { Reuse::Safe } else { Reuse::Never })
}

/// The only coding there is between a server and this proxy is one `chunked`.
fn is_chunked(fields: &HeaderMap) -> Result<bool, Failure> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        (Some(_), _) => Err(malformed("the endpoint's answer has a transfer coding other than a single \"chunked\"")),
    }
}

/// How many lengths there were; afterwards there is one at most.
fn settle_length(fields: &mut HeaderMap) -> Result<usize, Failure> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(only), None) = (values.next(), values.next())
        && is_plain(only.as_bytes())
    {
        return Ok(1);
    }
    let mut known: Option<u64> = None;
    let mut count = 0;
    for text in fields.get_all(header::CONTENT_LENGTH).iter().flat_map(members) {
        let length =
            digits(text).ok_or_else(|| malformed("the endpoint's answer has a Content-Length that is none"))?;
        if known.is_some_and(|known| known != length) {
            return Err(malformed("the endpoint's answer has two lengths"));
        }
        known = Some(length);
        count += 1;
    }
    if let Some(length) = known.filter(|_| count > 1) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(count)
}

/// One number in the ordinary way, which needs no closer look: so many digits are no overflow.
fn is_plain(length: &[u8]) -> bool {
    (1..=19).contains(&length.len()) && length.iter().all(u8::is_ascii_digit)
}

fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn digits(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| all_digits)?.parse().ok()
}

fn malformed(message: &'static str) -> Failure {
    Failure::new(FailureKind::UpstreamMalformed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, version: Version, fields: &[(&'static str, &str)]) -> Parts {
        let mut parts = http::Response::builder().status(status).version(version).body(()).unwrap().into_parts().0;
        for (name, value) in fields {
            parts.headers.append(*name, value.parse().unwrap());
        }
        parts
    }

    #[test]
    fn one_framing_is_passed_on() {
        let chunked = ("transfer-encoding", "Chunked");
        let length = |text| ("content-length", text);
        for (fields, lengths, reuse) in [
            (&[][..], None, Some(Reuse::Safe)),
            (&[length("05")], Some("05"), Some(Reuse::Safe)),
            (&[length("9999999999999999999")], Some("9999999999999999999"), Some(Reuse::Safe)),
            (&[length("00000000000000000005")], Some("00000000000000000005"), Some(Reuse::Safe)),
            (&[length("5"), length("5")], Some("5"), Some(Reuse::Safe)),
            (&[length("5, 5")], Some("5"), Some(Reuse::Safe)),
            (&[chunked], None, Some(Reuse::Safe)),
            (&[chunked, length("5")], None, Some(Reuse::Never)),
            (&[chunked, chunked], None, None),
            (&[("transfer-encoding", "gzip, chunked")], None, None),
            (&[length("5"), length("6")], None, None),
            (&[length("5,")], None, None),
            (&[length("")], None, None),
            (&[length("+5")], None, None),
            (&[length("18446744073709551616")], None, None),
        ] {
            let mut parts = head(200, Version::HTTP_11, fields);
            let seen = Seen::of(&parts.headers);
            assert_eq!(settle(&mut parts, seen).ok(), reuse, "{fields:?}");
            if reuse.is_some() {
                let left: Vec<_> = parts.headers.get_all(header::CONTENT_LENGTH).iter().collect();
                assert_eq!(left, lengths.into_iter().collect::<Vec<_>>(), "{fields:?}");
            }
        }
    }

    #[test]
    fn some_connections_are_used_once() {
        for (status, version, reuse) in [
            (200, Version::HTTP_11, Reuse::Safe),
            (404, Version::HTTP_11, Reuse::Safe),
            (500, Version::HTTP_11, Reuse::Never),
            (200, Version::HTTP_10, Reuse::Never),
            (200, Version::HTTP_2, Reuse::Safe),
        ] {
            assert_eq!(
                settle(&mut head(status, version, &[]), Seen::default()).unwrap(),
                reuse,
                "{status} {version:?}"
            );
        }
    }
}
