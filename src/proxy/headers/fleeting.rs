//! Values that hardly come twice on a connection.
//!
//! HTTP/2 remembers fields that it has sent (RFC 7541 section 2.3.2). To remember an id, a time or a duration is a loss: it
//! drives out what does come again, and the library looks through all values that it has of a name before it sends the
//! next. So these are sent as they are: "never indexed" (section 6.2.3), which a field's sensitivity stands for. A name that
//! the protocol does not know, though, would be spelled out each time; so a connection remembers its first request id.

use http::{HeaderMap, HeaderValue, header};

/// Has an HTTP/2 connection forget the fields that begin with a digit, and the date: numbers, times, addresses and ids.
pub(in crate::proxy) fn leave_unindexed(fields: &mut HeaderMap) {
    for (name, value) in fields.iter_mut() {
        if value.as_bytes().first().is_some_and(u8::is_ascii_digit) || *name == header::DATE {
            value.set_sensitive(true);
        }
    }
}

/// The same for one value.
pub(in crate::proxy) fn fleeting(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::headers::testing::fields;

    #[test]
    fn what_comes_again_is_remembered() {
        let mut fields = fields(&[
            ("date", "Sat, 21 Nov 2026 08:00:00 GMT"),
            ("x-compute-time", "12"),
            ("x-forwarded-for", "192.0.2.1"),
            ("server", "triton/2.9"),
            ("x-empty", ""),
        ]);
        leave_unindexed(&mut fields);
        let remembered: Vec<_> =
            fields.iter().filter(|(_, value)| !value.is_sensitive()).map(|(name, _)| name).collect();
        assert_eq!(remembered, ["server", "x-empty"]);
    }
}
