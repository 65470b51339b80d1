//! A JSON text with the CRC-32 of its exact bytes: `{"crc":"89abcdef","entry":{…}}`, or `"state"` in place of `"entry"`.
//!
//! This outer shape never changes. What may change is inside, under the checksum, so that a flipped bit is never
//! mistaken for a newer format.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Seals `payload`, which is JSON already, under `key`. The result is one line, newline included.
pub(super) fn seal(key: &str, payload: &str) -> String {
    format!("{{\"crc\":\"{}\",\"{key}\":{payload}}}\n", checksum(payload))
}

/// The payload as it was sealed, or `None` if anything about it is not as it was written.
pub(super) fn unseal(bytes: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Sealed<'a> {
        crc: &'a str,
        #[serde(borrow, alias = "state", rename = "entry")]
        payload: &'a RawValue,
    }
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).ok()?;
    let payload = sealed.payload.get();
    (sealed.crc == checksum(payload)).then_some(payload)
}

fn checksum(payload: &str) -> String {
    format!("{:08x}", crc32fast::hash(payload.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let payload = r#"{"a":1,"b":"é"}"#;
        let sealed = seal("entry", payload);
        assert_eq!(unseal(sealed.as_bytes()), Some(payload));
        assert_eq!(unseal(seal("state", payload).as_bytes()), Some(payload));
        for at in 0..sealed.len() {
            for flip in 1..=255u8 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[at] ^= flip;
                assert!(matches!(unseal(&bytes), None | Some(r#"{"a":1,"b":"é"}"#)), "byte {at} ^ {flip}");
            }
        }
    }
}
