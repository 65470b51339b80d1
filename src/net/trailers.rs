//! A look at a chunked body. hyper takes a lone LF behind the last chunk for a line's end, and then swallows the request
//! that follows as if it were trailers; it reads past control characters in extensions, and takes sizes of any number of
//! zeros. Chunks are only counted over; hyper stays the one that reads them.

/// Where in a chunked body the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TrailerScan {
    /// Not in a chunked body: before one, or behind its last trailer. Or lost in one, behind a size that 64 bits do not hold;
    /// hyper refuses that one itself. Nothing is looked at.
    #[default]
    Off,
    Size {
        size: u64,
        digits: u32,
    },
    /// Behind the digits, up to the line's end.
    Extension {
        size: u64,
    },
    /// Data and its line end.
    Data {
        left: u64,
    },
    /// The lines after the last chunk, with what is known of the present one.
    Trailer {
        bytes: u32,
        last: u8,
    },
}

/// Digits of a size; 16 would do.
const DIGITS_MAX: u32 = 64;

/// What hyper would let pass: a line after the last chunk that ends in LF without CR, an extension with a control
/// character, a size without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loose;

impl TrailerScan {
    /// A chunked body begins.
    pub(super) fn begin() -> Self {
        TrailerScan::Size { size: 0, digits: 0 }
    }

    /// Looks at the body's next bytes; gives back how many of them were the body's.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Loose> {
        let mut at = 0;
        while at < bytes.len() && *self != TrailerScan::Off {
            at += self.step(&bytes[at..])?;
        }
        Ok(at)
    }

    /// One step into bytes of which there is at least one; gives back its length.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Loose> {
        let byte = bytes[0];
        match *self {
            TrailerScan::Off => return Ok(bytes.len()),
            TrailerScan::Size { digits: DIGITS_MAX, .. } => return Err(Loose),
            TrailerScan::Size { size, digits } => {
                *self = match char::from(byte).to_digit(16) {
                    Some(digit) if size >> 60 == 0 => {
                        TrailerScan::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                    }
                    Some(_) => TrailerScan::Off,
                    None => TrailerScan::Extension { size },
                };
            }
            TrailerScan::Extension { size } if byte == b'\n' => {
                *self = match size.checked_add(2) {
                    Some(2) => TrailerScan::Trailer { bytes: 0, last: 0 },
                    Some(left) => TrailerScan::Data { left },
                    None => TrailerScan::Off,
                };
            }
            TrailerScan::Extension { .. } if byte.is_ascii_control() && !b"\r\t".contains(&byte) => return Err(Loose),
            TrailerScan::Extension { .. } => {}
            TrailerScan::Data { left } => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - taken as u64;
                *self = if left == 0 { TrailerScan::begin() } else { TrailerScan::Data { left } };
                return Ok(taken);
            }
            TrailerScan::Trailer { last, .. } if byte == b'\n' && last != b'\r' => return Err(Loose),
            TrailerScan::Trailer { bytes: 1, .. } if byte == b'\n' => *self = TrailerScan::Off,
            TrailerScan::Trailer { .. } if byte == b'\n' => *self = TrailerScan::Trailer { bytes: 0, last: 0 },
            TrailerScan::Trailer { bytes, .. } => {
                *self = TrailerScan::Trailer { bytes: bytes.saturating_add(1), last: byte };
            }
        }
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_parser_lets_pass_is_seen() {
        for (text, seen) in [
            ("3\r\na\nb\r\n0\r\n\r\n", Ok(13)),
            ("3;x=\"y\"\r\nabc\r\n0\r\nx: 1\r\n\r\nGET", Ok(25)),
            ("0\r\n\r\nGET / HTTP/1.1\n", Ok(5)),
            ("0\r\n\n", Err(Loose)),
            ("0\r\nx: 1\n\r\n", Err(Loose)),
            ("0\r\nx: 1\ny: 2\r\n\r\n", Err(Loose)),
            ("3;a=\0\r\nabc\r\n", Err(Loose)),
            ("3;a=\x7f\r\nabc\r\n", Err(Loose)),
            ("3;\ta\r\nabc\r\n", Ok(11)),
            (&"0".repeat(70), Err(Loose)),
            ("ffffffffffffffffff\r\n\n\n", Ok(17)),
        ] {
            assert_eq!(TrailerScan::begin().feed(text.as_bytes()), seen, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Fails when: the pieces in which a body comes decide what is thought of it, or strange bytes make a panic.
        #[test]
        fn pieces_make_no_difference(text in "([0-3f]{1,17}(;[a-z]{0,2})?\r?\n|[a-z\\x00-\\xff]{0,3}|\r\n|0\r\n){0,12}", cut in 0usize..60) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let (mut whole, mut pieces) = (TrailerScan::begin(), TrailerScan::begin());
            let at_once = whole.feed(bytes);
            let in_two = pieces.feed(&bytes[..cut]).and_then(|first| Ok(first + pieces.feed(&bytes[cut..])?));
            prop_assert_eq!(at_once.is_ok(), in_two.is_ok());
            prop_assert_eq!(whole, pieces);
        }
    }
}
