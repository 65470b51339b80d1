//! The text of a file, and the way back from a span of it to a line, a column and a key.

use std::{cell::OnceCell, collections::HashMap, fmt::Write, ops::Range, path::Path};

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

/// A file's text with an index of its keys. Both parts of the index are made when a problem first asks for them: most
/// files have none, and a file of thousands of services is read again at each reload.
pub(super) struct Source<'t> {
    file: &'t Path,
    text: &'t str,
    tree: &'t Tree<'t>,
    keys: OnceCell<Keys>,
    /// Where each line ends.
    newlines: OnceCell<Vec<usize>>,
}

/// Where keys and values stand.
#[derive(Default)]
struct Keys {
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
            let newlines_before = |start: usize| memchr::memchr_iter(b'\n', &text.as_bytes()[..start]).count();
            let place = Some(place(text, error.span().unwrap_or(0..0), newlines_before));
            Problems::from(Problem { file: file.to_owned(), place, key: String::new(), message, hint: None })
        })
    }
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str, tree: &'t Tree<'t>) -> Self {
        Self { file, text, tree, keys: OnceCell::new(), newlines: OnceCell::new() }
    }

    pub(super) fn file(&self) -> &'t Path {
        self.file
    }

    /// A problem of the key or value at this span.
    pub(super) fn problem(&self, span: Span, message: impl Into<String>, hint: Option<String>) -> Problem {
        Problem {
            file: self.file.to_owned(),
            key: self.path(&span).map(render).unwrap_or_default(),
            place: Some(self.place(span)),
            message: message.into(),
            hint,
        }
    }

    fn place(&self, span: Span) -> Place {
        let newlines =
            self.newlines.get_or_init(|| memchr::memchr_iter(b'\n', self.text.as_bytes()).collect::<Vec<_>>());
        place(self.text, span, |start| newlines.partition_point(|newline| *newline < start))
    }

    fn keys(&self) -> &Keys {
        self.keys.get_or_init(|| {
            let mut keys = Keys::default();
            keys.index_table(self.tree.0.get_ref(), &mut Vec::new());
            keys
        })
    }

    pub(super) fn path(&self, span: &Span) -> Option<&[Step]> {
        self.keys().paths.get(&(span.start, span.end)).map(Vec::as_slice)
    }

    /// Where the value of this key stands, such as `proxy.tls.more[0].cert`.
    pub(super) fn span_of(&self, key: &str) -> Option<Span> {
        let named = self.keys().paths.iter().filter(|(_, path)| render(path) == key);
        // Behind the key itself, which has the same path.
        named.map(|((start, end), _)| *start..*end).max_by_key(|span| span.start)
    }

    /// `string`, `integer`, …; `None` for a key.
    pub(super) fn type_at(&self, span: &Span) -> Option<&'static str> {
        self.keys().types.get(&(span.start, span.end)).copied()
    }
}

impl Keys {
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

/// `newlines_before` says how many lines end before a byte of the text.
fn place(text: &str, span: Span, newlines_before: impl Fn(usize) -> usize) -> Place {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let source = text[line_start..line_end].trim_end_matches('\r');
    let meant = text[start..text.ceil_char_boundary(span.end.clamp(start, line_end))].trim_end();
    Place {
        line: 1 + newlines_before(start),
        column: 1 + text[line_start..start].chars().count(),
        width: meant.chars().count().max(1),
        source: source.to_owned(),
        skipped: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a source tells it, which must be as counting from the beginning does.
    fn place(text: &str, span: Span) -> Place {
        let tree = Tree::parse(Path::new("test.toml"), "").ok().unwrap();
        let by_index = Source::new(Path::new("test.toml"), text, &tree).place(span.clone());
        let by_counting = super::place(text, span, |start| text[..start].matches('\n').count());
        assert_eq!(by_index, by_counting);
        by_index
    }

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
