//! Request ids: the client's own if it is usable, else 32 hexadecimal digits from a seed and a counter, so that a
//! request costs no system call.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use http::HeaderValue;

use super::headers::fleeting;

/// Longest id taken over from a client.
const LENGTH_MAX: usize = 128;

/// A worker's source of ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    seed: u64,
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { seed: random(), next: Cell::new(random()) }
    }

    /// The client's id, or a new one.
    pub(super) fn take_over(&self, given: Option<&HeaderValue>) -> HeaderValue {
        fleeting(match given {
            Some(id) if is_usable(id.as_bytes()) => id.clone(),
            Some(_) | None => self.generate(),
        })
    }

    fn generate(&self) -> HeaderValue {
        let count = self.next.get();
        self.next.set(count.wrapping_add(1));
        let mut text = [0; 32];
        write_hex(&mut text[..16], self.seed);
        write_hex(&mut text[16..], count);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

fn is_usable(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn write_hex(target: &mut [u8], value: u64) {
    for (index, digit) in target.iter_mut().enumerate() {
        let nibble = (value >> (60 - 4 * index)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_plain() {
        let ids = RequestIds::new();
        let (first, second) = (ids.take_over(None), ids.take_over(None));
        assert_ne!(first, second);
        assert!(is_usable(first.as_bytes()) && first.len() == 32);
        assert!(first.is_sensitive(), "no HTTP/2 connection is to remember it");
    }

    #[test]
    fn a_usable_id_is_kept_and_another_is_not() {
        let ids = RequestIds::new();
        let kept = HeaderValue::from_static("abc-123");
        assert_eq!(ids.take_over(Some(&kept)), kept);
        for bad in ["", "a b", &"x".repeat(129)] {
            let bad = HeaderValue::from_str(bad).unwrap();
            assert_ne!(ids.take_over(Some(&bad)), bad);
        }
    }
}
