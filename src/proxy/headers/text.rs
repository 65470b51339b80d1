//! A head as HTTP/1.1 writes it, where the HTTP library writes none.

use http::{HeaderName, HeaderValue};

/// The first line, the fields, and the empty line after them.
pub(in crate::proxy) fn in_text<'a>(
    first: &str,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Vec<u8> {
    let mut text = format!("{first}\r\n").into_bytes();
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}
