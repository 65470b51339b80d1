//! Single values: words, whole numbers, durations, sizes, addresses.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{Check, Span};
use crate::config::{
    parse_duration, parse_size,
    schema::{Given, Quantity},
};

impl Check<'_> {
    /// One word out of a few. `noun` names what it is.
    pub(super) fn word<T: Copy>(&mut self, noun: &str, given: &Given<String>, words: &[(&str, T)], default: T) -> T {
        let Some(given) = given else { return default };
        match words.iter().find(|(word, _)| word == given.get_ref()) {
            Some((_, meaning)) => *meaning,
            None => {
                let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                let hint = format!("write {}", quoted.join(" or "));
                self.refuse(given.span(), format!("unknown {noun} {:?}", given.get_ref()), hint);
                default
            }
        }
    }

    pub(super) fn whole<N: TryFrom<i64>>(&mut self, given: &Given<i64>, range: RangeInclusive<i64>, default: N) -> N {
        let Some(given) = given else { return default };
        let number = *given.get_ref();
        match N::try_from(number) {
            Ok(fits) if range.contains(&number) => fits,
            _ => {
                let hint = format!("write a number from {} to {}", range.start(), range.end());
                self.refuse(given.span(), format!("{number} is out of range"), hint);
                default
            }
        }
    }

    pub(super) fn size(&mut self, given: &Given<Quantity>, range: RangeInclusive<u64>, default: usize) -> usize {
        let Some(given) = given else { return default };
        let parsed = match given.get_ref() {
            Quantity::Number(number) => u64::try_from(*number).or_else(|_| parse_size(&number.to_string())),
            Quantity::Text(text) => parse_size(text),
        };
        match parsed.map(|bytes| (bytes, usize::try_from(bytes))) {
            Ok((bytes, Ok(size))) if range.contains(&bytes) => return size,
            Ok((bytes, _)) => {
                let hint = format!("write {} to {}", bytes_in_words(*range.start()), bytes_in_words(*range.end()));
                self.refuse(given.span(), format!("{} is out of range", bytes_in_words(bytes)), hint);
            }
            Err(bad) => self.refuse(given.span(), bad.to_string(), bad.hint()),
        }
        default
    }

    /// A duration for which zero makes sense.
    pub(super) fn duration(&mut self, given: &Given<Quantity>, default: Duration) -> Duration {
        self.parsed_duration(given).map_or(default, |(_, duration)| duration)
    }

    /// A duration for which zero would mean "never works".
    pub(super) fn positive(&mut self, given: &Given<Quantity>, default: Duration) -> Duration {
        match self.parsed_duration(given) {
            Some((span, Duration::ZERO)) => {
                self.refuse(span, "zero makes no sense here", "write a duration above zero, such as \"1s\"");
                default
            }
            Some((_, duration)) => duration,
            None => default,
        }
    }

    /// A duration that can be turned off with the word `off`.
    pub(super) fn unless_off(&mut self, given: &Given<Quantity>, default: Option<Duration>) -> Option<Duration> {
        let off = |quantity: &Quantity| matches!(quantity, Quantity::Text(text) if text == "off");
        match given {
            None => default,
            Some(given) if off(given.get_ref()) => None,
            Some(_) => match self.parsed_duration(given) {
                Some((span, Duration::ZERO)) => {
                    self.refuse(span, "zero makes no sense here", "write \"off\" or a duration above zero");
                    default
                }
                Some((_, duration)) => Some(duration),
                None => default,
            },
        }
    }

    fn parsed_duration(&mut self, given: &Given<Quantity>) -> Option<(Span, Duration)> {
        let given = given.as_ref()?;
        match given.get_ref() {
            Quantity::Number(number) => {
                let hint = format!("write \"{number}s\" for seconds or \"{number}ms\" for milliseconds");
                self.refuse(given.span(), format!("the duration {number} has no unit"), hint);
                None
            }
            Quantity::Text(text) => match parse_duration(text) {
                Ok(duration) => Some((given.span(), duration)),
                Err(bad) => {
                    self.refuse(given.span(), bad.to_string(), bad.hint());
                    None
                }
            },
        }
    }

    /// A listener's address. Names are refused: which of their addresses would be meant?
    pub(super) fn socket(&mut self, span: Span, text: &str, default: SocketAddr) -> SocketAddr {
        match text.parse() {
            Ok(address) => address,
            Err(_not_an_address) => {
                let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(default.port());
                let hint = format!(
                    "write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for the network, \
                     or \"[::]:{port}\" with IPv6"
                );
                self.refuse(span, format!("{text:?} is not an IP address with a port"), hint);
                default
            }
        }
    }

    /// A text that must not be empty.
    pub(super) fn filled<'g>(&mut self, given: &'g Given<String>) -> Option<&'g str> {
        let given = given.as_ref()?;
        if given.get_ref().trim().is_empty() {
            self.refuse(given.span(), "it is empty", "leave the key out for its default");
            return None;
        }
        Some(given.get_ref())
    }
}

/// `64 KiB`, but `65537 bytes`.
fn bytes_in_words(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::bytes_in_words;

    #[test]
    fn bytes_are_told_in_the_largest_whole_unit() {
        for (bytes, expected) in [(0, "0 bytes"), (65_537, "65537 bytes"), (65_536, "64 KiB"), (1 << 30, "1 GiB")] {
            assert_eq!(bytes_in_words(bytes), expected);
        }
    }
}
