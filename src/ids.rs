//! Names and numbers that every room shares.
//!
//! Invariants: a [`ServiceName`] is always valid (parse, don't validate again); a [`Slot`] is one of two;
//! a [`Generation`] only grows. Never: behaviour, I/O.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name of a service: 1 to 63 characters of `a-z A-Z 0-9 - _ .`, so that it can stand in a URL path,
/// a metric label and a file name without quoting. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

/// Why a text is not a service name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a service name is 1 to 63 characters of a-z A-Z 0-9 - _ . (got {0:?})")]
pub struct BadServiceName(pub String);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = BadServiceName;

    fn from_str(text: &str) -> Result<Self, BadServiceName> {
        let fits = (1..=63).contains(&text.len());
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if fits && text.bytes().all(plain) && text != "." && text != ".." {
            Ok(Self(text.into()))
        } else {
            Err(BadServiceName(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = BadServiceName;

    fn try_from(text: String) -> Result<Self, BadServiceName> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One of the two places a model version can stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    Blue,
    Green,
}

impl Slot {
    /// Both slots, blue first.
    pub const BOTH: [Slot; 2] = [Slot::Blue, Slot::Green];

    /// The slot that this one is not.
    pub fn other(self) -> Slot {
        match self {
            Slot::Blue => Slot::Green,
            Slot::Green => Slot::Blue,
        }
    }

    /// `blue` or `green`.
    pub fn as_str(self) -> &'static str {
        match self {
            Slot::Blue => "blue",
            Slot::Green => "green",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a slot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a slot is \"blue\" or \"green\" (got {0:?})")]
pub struct BadSlot(pub String);

impl FromStr for Slot {
    type Err = BadSlot;

    fn from_str(text: &str) -> Result<Self, BadSlot> {
        match text {
            "blue" => Ok(Slot::Blue),
            "green" => Ok(Slot::Green),
            other => Err(BadSlot(other.chars().take(80).collect())),
        }
    }
}

/// A value for each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PerSlot<T> {
    pub blue: T,
    pub green: T,
}

impl<T> PerSlot<T> {
    /// Builds the value of each slot.
    pub fn from_fn(mut make: impl FnMut(Slot) -> T) -> Self {
        Self { blue: make(Slot::Blue), green: make(Slot::Green) }
    }

    /// Both values with their slots, blue first.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        [(Slot::Blue, &self.blue), (Slot::Green, &self.green)].into_iter()
    }
}

impl<T> std::ops::Index<Slot> for PerSlot<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }
}

impl<T> std::ops::IndexMut<Slot> for PerSlot<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::Blue => &mut self.blue,
            Slot::Green => &mut self.green,
        }
    }
}

/// The number of a service's published state; every change raises it by one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One endpoint object of this process. Two endpoints never share an id, even if their address is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_are_plain() {
        for good in ["iris", "a", "llama-3.1_8B", &"x".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "ä", ".", "..", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slot_is_the_other_of_its_other() {
        for slot in Slot::BOTH {
            assert_ne!(slot, slot.other());
            assert_eq!(slot, slot.other().other());
            assert_eq!(slot.as_str().parse(), Ok(slot));
        }
        assert!("purple".parse::<Slot>().is_err());
    }
}
