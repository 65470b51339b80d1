//! One line of JSON, read with the place of every value, so that whatever is wrong is told with line, column and key.
//!
//! A value is cut out of the line before it is understood: a body is sent with the very bytes that were written.

use std::{borrow::Cow, fmt::Display, path::Path, time::Duration};

use serde_json::{Value, value::RawValue};

use super::fields::Fields;
use crate::config::{self, Place, Problem};

/// A value of the line, not yet understood, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    /// Its text in the line.
    pub(super) raw: &'t str,
    /// Such as `expect.tensors.predict.abs`.
    pub(super) path: String,
}

/// Reads one line and notes what is wrong with it.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    file: &'t Path,
    /// Counted from 1.
    line: usize,
    pub(super) text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Node<'t> {
    pub(super) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    pub(super) fn is_array(&self) -> bool {
        self.raw.starts_with('[')
    }

    pub(super) fn is_string(&self) -> bool {
        self.raw.starts_with('"')
    }

    pub(super) fn is_bool(&self) -> bool {
        self.raw.starts_with(['t', 'f'])
    }

    /// With its article.
    fn kind(&self) -> &'static str {
        match self.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    /// The path to a member.
    pub(super) fn child(&self, key: &str) -> String {
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let dot = if self.path.is_empty() { "" } else { "." };
        if plain { format!("{}{dot}{key}", self.path) } else { format!("{}{dot}{key:?}", self.path) }
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t Path, line: usize, text: &'t str) -> Self {
        Self { file, line, text, problems: Vec::new() }
    }

    /// The whole line as one value; `None` (and a problem) if it is not JSON.
    pub(super) fn root(&mut self) -> Option<Node<'t>> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(raw) => Some(Node { raw: raw.get(), path: String::new() }),
            Err(error) => {
                let at = self.text.floor_char_boundary(error.column().saturating_sub(1));
                let rest = &self.text[at..];
                let meant = rest.chars().next().map_or(rest, |first| &rest[..first.len_utf8()]);
                let said = error.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                self.note(meant, "", format!("not JSON: {said}"), "write one JSON object on each line");
                None
            }
        }
    }

    pub(super) fn refuse(&mut self, node: &Node<'t>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(node.raw, &node.path, message, hint);
    }

    /// A problem of this slice of the line.
    pub(super) fn note(&mut self, meant: &str, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let place = Some(place(self.line, self.text, meant));
            let (message, hint) = (message.into(), Some(hint.into()));
            self.problems.push(Problem { file: self.file.to_owned(), place, key: key.to_owned(), message, hint });
        }
    }

    fn wrong_kind(&mut self, node: &Node<'t>, wanted: &str) {
        self.refuse(node, format!("this is {}", node.kind()), format!("write {wanted}"));
    }

    /// The members of an object. Notes anything else, a key twice, and keys that are not among `known`.
    pub(super) fn object(&mut self, node: &Node<'t>, known: &[&str]) -> Option<Fields<'t>> {
        let fields = self.map(node)?;
        for field in fields.iter().filter(|field| !known.contains(&field.key.as_ref())) {
            let near = known.iter().min_by_key(|candidate| strsim::levenshtein(candidate, &field.key));
            let near = near.filter(|candidate| strsim::levenshtein(candidate, &field.key) <= 2);
            let hint = match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let meant = field.written_key().unwrap_or(field.value.raw);
            self.note(meant, &field.value.path, "unknown key", hint);
        }
        Some(fields)
    }

    /// The members of an object with any keys. Notes anything else, and a key twice.
    pub(super) fn map(&mut self, node: &Node<'t>) -> Option<Fields<'t>> {
        if !node.is_object() {
            self.wrong_kind(node, "an object: {…}");
            return None;
        }
        let fields = Fields::of(node)?;
        for again in fields.repeated() {
            self.note(
                again.written_key().unwrap_or(again.value.raw),
                &again.value.path,
                "the key is there twice",
                "keep one",
            );
        }
        Some(fields)
    }

    /// The elements of an array; a value that is none stands for an array of one.
    pub(super) fn one_or_many(&mut self, node: &Node<'t>) -> Vec<Node<'t>> {
        if !node.is_array() {
            return vec![node.clone()];
        }
        let items: Vec<&'t RawValue> = serde_json::from_str(node.raw).unwrap_or_default();
        if items.is_empty() || items.len() > ITEMS_MAX {
            self.refuse(node, format!("{} values", items.len()), format!("write 1 to {ITEMS_MAX}"));
            return Vec::new();
        }
        let named =
            |(index, raw): (usize, &&'t RawValue)| Node { raw: raw.get(), path: format!("{}[{index}]", node.path) };
        items.iter().enumerate().map(named).collect()
    }

    /// Any value at all. Notes one that is nested too deep.
    pub(super) fn value(&mut self, node: &Node<'t>) -> Option<Value> {
        let result = serde_json::from_str(node.raw);
        self.accept(node, result, "write it with less nesting")
    }

    pub(super) fn string(&mut self, node: &Node<'t>) -> Option<String> {
        if !node.is_string() {
            self.wrong_kind(node, "a string: \"…\"");
            return None;
        }
        let result = serde_json::from_str::<Cow<'_, str>>(node.raw).map(Cow::into_owned);
        self.accept(node, result, "write a string of valid characters")
    }

    pub(super) fn strings(&mut self, node: &Node<'t>) -> Vec<String> {
        self.one_or_many(node).iter().filter_map(|item| self.string(item)).collect()
    }

    pub(super) fn flag(&mut self, node: &Node<'t>) -> Option<bool> {
        if !node.is_bool() {
            self.wrong_kind(node, "true or false");
            return None;
        }
        Some(node.raw == "true")
    }

    pub(super) fn number(&mut self, node: &Node<'t>) -> Option<f64> {
        let number = serde_json::from_str::<f64>(node.raw).ok().filter(|number| number.is_finite());
        if number.is_none() {
            self.wrong_kind(node, "a number that a double can hold");
        }
        number
    }

    /// A number in a range, both ends included.
    pub(super) fn number_in(&mut self, node: &Node<'t>, low: f64, high: f64) -> Option<f64> {
        let number = self.number(node)?;
        if !(low..=high).contains(&number) {
            let upper = if high == f64::MAX { "or more".to_owned() } else { format!("to {high}") };
            self.refuse(node, format!("{number} is out of range"), format!("write {low} {upper}"));
            return None;
        }
        Some(number)
    }

    pub(super) fn whole(&mut self, node: &Node<'t>, low: u64, high: u64) -> Option<u64> {
        let number = serde_json::from_str::<u64>(node.raw).ok().filter(|number| (low..=high).contains(number));
        if number.is_none() {
            self.wrong_kind_or_range(node, low, high);
        }
        number
    }

    fn wrong_kind_or_range(&mut self, node: &Node<'t>, low: u64, high: u64) {
        let hint = if high == u64::MAX {
            format!("a whole number from {low}")
        } else {
            format!("a whole number from {low} to {high}")
        };
        self.wrong_kind(node, &hint);
    }

    pub(super) fn duration(&mut self, node: &Node<'t>) -> Option<Duration> {
        let text = self.string(node)?;
        match config::parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.refuse(node, error.to_string(), error.hint());
                None
            }
        }
    }

    pub(super) fn size(&mut self, node: &Node<'t>) -> Option<u64> {
        let text = self.string(node)?;
        match config::parse_size(&text) {
            Ok(size) => Some(size),
            Err(error) => {
                self.refuse(node, error.to_string(), error.hint());
                None
            }
        }
    }

    /// A value, or the problem that stands in its place.
    pub(super) fn accept<T>(&mut self, node: &Node<'t>, result: Result<T, impl Display>, hint: &str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(node, error.to_string(), hint);
                None
            }
        }
    }
}

/// Where `meant`, a slice of `text`, stands. Of a long line only the part round it is kept.
fn place(line: usize, text: &str, meant: &str) -> Place {
    let start = (meant.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    let start = text.floor_char_boundary(start);
    let from = if start > WINDOW_BYTES { text.ceil_char_boundary(start - WINDOW_BYTES / 2) } else { 0 };
    let until = text.floor_char_boundary((start + WINDOW_BYTES / 2).min(text.len())).max(start);
    let shown = text[start..until].len().min(meant.len());
    let width = text[start..text.floor_char_boundary(start + shown)].chars().count().max(1);
    let skipped = text[..from].chars().count();
    let column = 1 + skipped + text[from..start].chars().count();
    Place { line, column, width, source: text[from..until].trim_end_matches('\r').to_owned(), skipped }
}

/// More would hide the first ones.
pub(super) const PROBLEMS_MAX: usize = 100;
/// Of lists that people write: statuses, texts. Tensors are read otherwise.
const ITEMS_MAX: usize = 1000;
/// Of a line in a problem's text.
const WINDOW_BYTES: usize = 160;
