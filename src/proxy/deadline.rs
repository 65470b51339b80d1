//! The deadline that a gRPC client gives its call: `grpc-timeout` (gRPC over HTTP/2, "Timeout").
//!
//! It is passed on, and kept here too: a server that ignores it does not hold a place for a client that has gone.

use std::time::Duration;

use http::HeaderMap;

/// How long the call may take. `None` if the client does not say so in the one form there is: such a field is the
/// server's to judge.
pub(super) fn of_call(fields: &HeaderMap) -> Option<Duration> {
    let text = fields.get("grpc-timeout")?.as_bytes();
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

const DIGITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read() {
        for (text, limit) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("1S", Some(Duration::from_secs(1))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("0S", Some(Duration::ZERO)),
            ("100000000n", None),
            ("1s", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1 S", None),
            ("1", None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(of_call(&fields), limit, "{text:?}");
        }
    }
}
