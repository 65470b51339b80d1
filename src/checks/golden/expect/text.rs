//! A text of the answer: what it contains, what it does not, a pattern, a distance.

use regex::Regex;

use super::{Failure, Node, Reader, View, header::regex, path::Path};
use crate::checks::golden::evidence::{json, quoted};

#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    /// Where it is; `None` for what a person would read of the answer.
    path: Option<Path>,
    equals: Option<String>,
    contains: Vec<String>,
    not_contains: Vec<String>,
    regex: Option<Regex>,
    distance: Option<Distance>,
}

/// At most so many characters may be added, dropped or replaced.
#[derive(Clone, Debug)]
struct Distance {
    to: String,
    max: usize,
}

impl Text {
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let fields = reader.object(node, &["path", "equals", "contains", "not_contains", "regex", "edit_distance"])?;
        let mut text = Self::default();
        for field in fields.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "path" => text.path = Path::read(reader, value),
                "equals" => text.equals = reader.string(value),
                "contains" => text.contains = reader.strings(value),
                "not_contains" => text.not_contains = reader.strings(value),
                "regex" => text.regex = regex(reader, value),
                "edit_distance" => text.distance = Distance::read(reader, value),
                _ => {}
            }
        }
        Some(text)
    }

    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        let text = match self.find(view) {
            Ok(text) => text,
            Err(reason) => return failures.push(Failure::new("text", "a text", reason)),
        };
        let mut fail = |check: &str, expected: String| {
            failures.push(Failure::new(format!("text.{check}"), expected, quoted(&text)));
        };
        if let Some(equals) = self.equals.as_ref().filter(|equals| **equals != text) {
            fail("equals", quoted(equals));
        }
        for part in self.contains.iter().filter(|part| !text.contains(part.as_str())) {
            fail("contains", format!("{} in it", quoted(part)));
        }
        for part in self.not_contains.iter().filter(|part| text.contains(part.as_str())) {
            fail("not_contains", format!("no {} in it", quoted(part)));
        }
        if let Some(regex) = self.regex.as_ref().filter(|regex| !regex.is_match(&text)) {
            fail("regex", format!("a match of {}", quoted(regex.as_str())));
        }
        failures.extend(self.distance.as_ref().and_then(|distance| distance.judge(&text)));
    }

    fn find(&self, view: &View<'_>) -> Result<String, String> {
        let Some(path) = &self.path else { return view.text() };
        match path.find(view.json()?)?.as_slice() {
            [(_, value)] => value.as_str().map(str::to_owned).ok_or_else(|| format!("{} at {path}", json(value))),
            others => Err(format!("{} values at {path}", others.len())),
        }
    }
}

impl Distance {
    /// `{"to": "…", "max": 10}`, or `max_ratio` of the reference's length.
    fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let fields = reader.object(node, &["to", "max", "max_ratio"])?;
        let Some(to_node) = fields.find("to") else {
            reader.refuse(node, "there is no `to`", "write {\"to\": \"…\", \"max\": 10}");
            return None;
        };
        let to = reader.string(to_node)?;
        let length = to.chars().count();
        if length > DISTANCE_CHARS_MAX {
            reader.refuse(
                to_node,
                format!("{length} characters"),
                format!("the distance is measured up to {DISTANCE_CHARS_MAX}"),
            );
            return None;
        }
        let max = match (fields.find("max"), fields.find("max_ratio")) {
            (Some(max), None) => usize::try_from(reader.whole(max, 0, DISTANCE_CHARS_MAX as u64)?).ok()?,
            (None, Some(ratio)) => share(reader.number_in(ratio, 0.0, 1.0)?, length),
            _ => {
                reader.refuse(node, "neither `max` nor `max_ratio` alone", "write {\"to\": \"…\", \"max\": 10}");
                return None;
            }
        };
        Some(Self { to, max })
    }

    fn judge(&self, text: &str) -> Option<Failure> {
        let expected = format!("at most {} characters of difference to {}", self.max, quoted(&self.to));
        let length = text.chars().count();
        if length > DISTANCE_CHARS_MAX {
            let found = format!("a text of {length} characters, too long to be measured");
            return Some(Failure::new("text.edit_distance", expected, found));
        }
        let distance = strsim::levenshtein(&self.to, text);
        let found = || format!("{distance}: {}", quoted(text));
        (distance > self.max).then(|| Failure::new("text.edit_distance", expected, found()))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of at most ten thousand"
)]
fn share(ratio: f64, length: usize) -> usize {
    (ratio * length as f64) as usize
}

/// The time grows with the product of both lengths.
pub(in crate::checks::golden) const DISTANCE_CHARS_MAX: usize = 5_000;
