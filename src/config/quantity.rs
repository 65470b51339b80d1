//! Durations and sizes as people write them.

use std::time::Duration;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    #[error("{0:?} is not a duration")]
    Duration(String),
    #[error("{0:?} is longer than a year")]
    TooLong(String),
    #[error("{0:?} is not a size")]
    Size(String),
}

impl BadQuantity {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            BadQuantity::Duration(_) => "write a number and a unit, such as \"250ms\", \"30s\" or \"10m\"",
            BadQuantity::TooLong(_) => "write at most \"365d\"",
            BadQuantity::Size(_) => "write bytes such as 65536, or a unit such as \"64 KiB\" or \"1 MiB\"",
        }
    }
}

/// Reads a duration such as `250ms`, `30s`, `1h 30m`. At most 365 days, so that adding it to a point in time is safe.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(BadQuantity::TooLong(shortened(text))),
        Err(_) => Err(BadQuantity::Duration(shortened(text))),
    }
}

/// Reads a size in bytes: `65536`, `64 KiB`, `1MiB`, `2 GiB`; `KB`, `MB` and `GB` are thousands.
pub fn parse_size(text: &str) -> Result<u64, BadQuantity> {
    let bad = || BadQuantity::Size(shortened(text));
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = unit_bytes(unit.trim()).ok_or_else(bad)?;
    digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(bad)
}

fn unit_bytes(unit: &str) -> Option<u64> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        _ => None,
    }
}

/// An operator's text inside a message must not make a page of it.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("250ms", 250), ("30s", 30_000), ("10m", 600_000), ("1h 30m", 5_400_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "5 parsecs", "1.5.5s", "ä"] {
            assert_eq!(parse_duration(bad), Err(BadQuantity::Duration(bad.into())), "{bad}");
        }
        for long in ["366d", "99999999 years"] {
            assert_eq!(parse_duration(long), Err(BadQuantity::TooLong(long.into())), "{long}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [("0", 0), ("65536", 65_536), ("64 KiB", 65_536), ("1mib", 1 << 20), ("2 kB", 2_000)] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5 MiB", "1 TiB", "18446744073709551615 KiB", "+5"] {
            assert_eq!(parse_size(bad), Err(BadQuantity::Size(bad.into())), "{bad}");
        }
    }
}
