//! Headers of the answer: exact, present or absent, by pattern.

use http::HeaderName;
use regex::Regex;

use super::{Failure, Node, Reader, View};
use crate::checks::golden::evidence::quoted;

#[derive(Clone, Debug)]
pub(super) struct Header {
    name: HeaderName,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Exactly(String),
    Present(bool),
    Matching(Regex),
}

/// An object of names: `"text"`, `true`, `false`, or `{"regex": "…"}`.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Vec<Header> {
    let Some(fields) = reader.map(node) else { return Vec::new() };
    let mut headers = Vec::new();
    for field in fields.iter() {
        let name = HeaderName::try_from(field.key.as_ref());
        let name =
            reader.accept(&field.value, name.map_err(|_invalid| "not the name of a header"), "such as content-type");
        if let (Some(name), Some(wanted)) = (name, wanted(reader, &field.value)) {
            headers.push(Header { name, wanted });
        }
    }
    headers
}

fn wanted<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Wanted> {
    if node.is_bool() {
        return reader.flag(node).map(Wanted::Present);
    }
    if node.is_object() {
        let fields = reader.object(node, &["regex"])?;
        let Some(pattern) = fields.find("regex") else {
            reader.refuse(node, "there is no `regex`", "write {\"regex\": \"…\"}");
            return None;
        };
        return regex(reader, pattern).map(Wanted::Matching);
    }
    reader.string(node).map(Wanted::Exactly)
}

/// A pattern of bounded size.
pub(super) fn regex<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Regex> {
    let text = reader.string(node)?;
    let built = regex::RegexBuilder::new(&text).size_limit(PATTERN_BYTES_MAX).build();
    let built = built.map_err(|error| {
        error.to_string().lines().last().unwrap_or_default().replace("error: ", "not a regular expression: ")
    });
    reader.accept(node, built, "the syntax is that of the Rust crate `regex`: no look-around, no back-references")
}

impl Header {
    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        let values = view.answer.headers.get_all(&self.name).iter().chain(view.answer.trailers.get_all(&self.name));
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let (holds, expected) = match &self.wanted {
            Wanted::Present(true) => (!values.is_empty(), "it to be there".to_owned()),
            Wanted::Present(false) => (values.is_empty(), "it not to be there".to_owned()),
            Wanted::Exactly(text) => (!values.is_empty() && values.join(", ") == *text, quoted(text)),
            Wanted::Matching(regex) => {
                (values.iter().any(|value| regex.is_match(value)), format!("a match of {}", quoted(regex.as_str())))
            }
        };
        if !holds {
            let found = if values.is_empty() { "no such header".to_owned() } else { quoted(&values.join(", ")) };
            failures.push(Failure::new(format!("headers.{}", self.name), expected, found));
        }
    }
}

const PATTERN_BYTES_MAX: usize = 1 << 20;
