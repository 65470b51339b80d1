//! How far a number may be off, and the range that it may lie in.

use std::fmt;

use super::{Node, Reader};

/// A number is near enough if it is within `abs`, or within `rel` of the expected one's size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tolerance {
    abs: f64,
    rel: f64,
}

impl Tolerance {
    pub(super) fn read_abs<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        self.abs = reader.number_in(node, 0.0, f64::MAX).unwrap_or_default();
    }

    pub(super) fn read_rel<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        self.rel = reader.number_in(node, 0.0, REL_MAX).unwrap_or_default();
    }

    /// A number that is none is near nothing.
    pub(super) fn allows(self, expected: f64, found: f64) -> bool {
        let off = (expected - found).abs();
        expected.is_finite() && found.is_finite() && (off <= self.abs || off <= self.rel * expected.abs())
    }

    pub(super) fn is_exact(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Tolerance {
    /// ` ± 0.01`, ` ± 0.1 %`, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.abs > 0.0, self.rel > 0.0) {
            (false, false) => Ok(()),
            (true, false) => write!(f, " ± {}", self.abs),
            (false, true) => write!(f, " ± {} of it", self.rel),
            (true, true) => write!(f, " ± {} or {} of it", self.abs, self.rel),
        }
    }
}

/// From a low to a high end, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// `[0, 1]`, with null for an end that is open.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let ends: Option<[Option<f64>; 2]> = serde_json::from_str(node.raw).ok();
        let range =
            ends.map(|[low, high]| Self { low: low.unwrap_or(f64::NEG_INFINITY), high: high.unwrap_or(f64::INFINITY) });
        let range = range.filter(|range| range.low <= range.high);
        if range.is_none() {
            reader.refuse(node, "not a range", "write [low, high], with null for an open end");
        }
        range
    }

    pub(super) fn exactly(number: f64) -> Self {
        Self { low: number, high: number }
    }

    pub(super) fn holds(self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) if self.low == self.high => write!(f, "{}", self.low),
            (true, true) => write!(f, "{} to {}", self.low, self.high),
            (true, false) => write!(f, "at least {}", self.low),
            (false, true) => write!(f, "at most {}", self.high),
            (false, false) => f.write_str("a number"),
        }
    }
}

/// More than a thousandfold is no tolerance but a slip.
const REL_MAX: f64 = 1000.0;
