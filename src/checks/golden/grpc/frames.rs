//! The five bytes before each gRPC message: a flag for compression and the length, big-endian.

use bytes::{BufMut, Bytes, BytesMut};

/// A message with its prefix.
pub(in crate::checks::golden) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    // A message comes from a file of at most 64 MiB.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The one message of a unary body.
pub(in crate::checks::golden) fn body_message(body: &[u8]) -> Result<&[u8], String> {
    match messages(body)?.as_slice() {
        [message] => Ok(message),
        others => Err(format!("{} messages where there must be one", others.len())),
    }
}

/// All messages of a body; one that is compressed or cut off is an error.
pub(in crate::checks::golden) fn messages(mut body: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<PREFIX>() {
        let [flag, a, b, c, d] = *prefix;
        if flag != 0 {
            return Err(format!("a message with the compression flag {flag}; golden requests ask for none"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (message, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| format!("a message that says {length} bytes and has {}", rest.len()))?;
        messages.push(message);
        body = rest;
    }
    if body.is_empty() { Ok(messages) } else { Err(format!("{} bytes that are no message", body.len())) }
}

const PREFIX: usize = 5;
