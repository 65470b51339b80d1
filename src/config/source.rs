//! The text of a file, and the way back from a span of it to a line, a column and a key.

use std::{collections::HashMap, fmt::Write, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Place, Problem, Problems};

/// Bytes of the text.
pub(super) type Span = Range<usize>;

/// The parsed TOML, every key and value with its span.
pub(super) struct Tree<'t>(pub(super) Spanned<DeTable<'t>>);

/// One step from a table or array to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A file's text with an index of its keys.
pub(super) struct Source<'t> {
    file: &'t Path,
    text: &'t str,
    /// The path to each key and value, by span. Where two share one (`[a.b]` makes both), the longer path wins.
    paths: HashMap<(usize, usize), Vec<Step>>,
    /// The written type of each value, for messages about wrong ones.
    types: HashMap<(usize, usize), &'static str>,
}

impl<'t> Tree<'t> {
    /// A syntax error is the only one that is told: what follows it may be read quite otherwise than it was meant.
    pub(super) fn parse(file: &Path, text: &'t str) -> Result<Self, Problems> {
        DeTable::parse(text).map(Tree).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let place = Some(place(text, error.span().unwrap_or(0..0)));
            Problems::from(Problem { file: file.to_owned(), place, key: String::new(), message, hint: None })
        })
    }
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str, tree: &Tree<'_>) -> Self {
        let mut source = Self { file, text, paths: HashMap::new(), types: HashMap::new() };
        source.index_table(tree.0.get_ref(), &mut Vec::new());
        source
    }

    pub(super) fn file(&self) -> &'t Path {
        self.file
    }

    /// A problem of the key or value at this span.
    pub(super) fn problem(&self, span: Span, message: impl Into<String>, hint: Option<String>) -> Problem {
        Problem {
            file: self.file.to_owned(),
            key: self.path(&span).map(render).unwrap_or_default(),
            place: Some(place(self.text, span)),
            message: message.into(),
            hint,
        }
    }

    pub(super) fn path(&self, span: &Span) -> Option<&[Step]> {
        self.paths.get(&(span.start, span.end)).map(Vec::as_slice)
    }

    /// Where the value of this key stands, such as `proxy.tls.more[0].cert`.
    pub(super) fn span_of(&self, key: &str) -> Option<Span> {
        let named = self.paths.iter().filter(|(_, path)| render(path) == key);
        // Behind the key itself, which has the same path.
        named.map(|((start, end), _)| *start..*end).max_by_key(|span| span.start)
    }

    /// `string`, `integer`, …; `None` for a key.
    pub(super) fn type_at(&self, span: &Span) -> Option<&'static str> {
        self.types.get(&(span.start, span.end)).copied()
    }

    fn index_table(&mut self, table: &DeTable<'_>, path: &mut Vec<Step>) {
        for (key, value) in table {
            path.push(Step::Key(key.get_ref().to_string()));
            self.note(key.span(), path);
            self.index_value(value, path);
            path.pop();
        }
    }

    fn index_value(&mut self, value: &Spanned<DeValue<'_>>, path: &mut Vec<Step>) {
        let span = value.span();
        self.types.insert((span.start, span.end), value.get_ref().type_str());
        self.note(span, path);
        match value.get_ref() {
            DeValue::Table(table) => self.index_table(table, path),
            DeValue::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.index_value(element, path);
                    path.pop();
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn note(&mut self, span: Span, path: &[Step]) {
        let known = self.paths.entry((span.start, span.end)).or_default();
        if path.len() > known.len() {
            *known = path.to_vec();
        }
    }
}

/// `service[1].blue.endpoints[0]`, with quotes round keys that need them.
fn render(path: &[Step]) -> String {
    let plain =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut text = String::new();
    for step in path {
        let dot = if text.is_empty() { "" } else { "." };
        let _infallible = match step {
            Step::Key(key) if plain(key) => write!(text, "{dot}{key}"),
            Step::Key(key) => write!(text, "{dot}{key:?}"),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

fn place(text: &str, span: Span) -> Place {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let source = text[line_start..line_end].trim_end_matches('\r');
    let meant = text[start..text.ceil_char_boundary(span.end.clamp(start, line_end))].trim_end();
    Place {
        line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
        column: 1 + text[line_start..start].chars().count(),
        width: meant.chars().count().max(1),
        source: source.to_owned(),
        skipped: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_not_bytes() {
        let text = "a = 1\r\nä = \"bö\"\r\n";
        let start = text.find('"').unwrap();
        let found = place(text, start..start + "\"bö\"".len());
        assert_eq!(found, Place { line: 2, column: 5, width: 4, source: "ä = \"bö\"".into(), skipped: 0 });
    }

    #[test]
    fn a_place_at_or_past_the_end_is_still_a_place() {
        for span in [5..5, 6..6, 100..200] {
            let found = place("a = 1\n", span);
            assert_eq!((found.line <= 2, found.width), (true, 1));
        }
        assert_eq!(place("", 0..0), Place { line: 1, column: 1, width: 1, source: String::new(), skipped: 0 });
    }

    #[test]
    fn a_span_over_several_lines_is_marked_on_its_first() {
        let found = place("a = [\n 1,\n]\n", 4..11);
        assert_eq!((found.line, found.column, found.width), (1, 5, 1));
    }

    #[test]
    fn paths_are_written_as_an_operator_would() {
        let path = [Step::Key("service".into()), Step::Index(1), Step::Key("match".into()), Step::Key("a.b".into())];
        assert_eq!(render(&path), "service[1].match.\"a.b\"");
    }
}
