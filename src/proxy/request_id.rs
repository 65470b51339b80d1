//! Request ids: the client's own if it is usable, else 32 hexadecimal digits from a seed and a counter, so that a
//! request costs no system call.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use bytes::Bytes;
use http::HeaderValue;

/// Longest id taken over from a client.
const LENGTH_MAX: usize = 128;

/// A worker's source of ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// The first half of each id.
    seed: [u8; 16],
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { seed: hex(random()), next: Cell::new(random()) }
    }

    /// The client's id, or a new one.
    pub(super) fn take_over(&self, given: Option<&HeaderValue>) -> HeaderValue {
        match given {
            Some(id) if is_usable(id.as_bytes()) => id.clone(),
            Some(_) | None => self.generate(),
        }
    }

    fn generate(&self) -> HeaderValue {
        let count = self.next.get();
        self.next.set(count.wrapping_add(1));
        let mut text = [0; 32];
        text[..16].copy_from_slice(&self.seed);
        text[16..].copy_from_slice(&hex(count));
        // An id is cloned at once; bytes that only had one owner so far would allocate a second time for that.
        HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

fn is_usable(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn hex(value: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (pair, byte) in text.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    text
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
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
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
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
