//! Text for a terminal: lines, aligned columns, a little colour.
//!
//! Everything that goes onto a page loses its control characters here, so that what a model server or a colleague wrote
//! cannot move the cursor or paint the terminal.

/// How a piece of text looks where colour is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Style::Plain => None,
            Style::Strong => Some("1"),
            Style::Faint => Some("2"),
            Style::Good => Some("32"),
            Style::Warning => Some("33"),
            Style::Bad => Some("31"),
        }
    }
}

/// A place in a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()), style }
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Style::Plain, text)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Text under way to a terminal.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    colour: bool,
}

impl Page {
    pub(super) fn new(colour: bool) -> Self {
        Self { text: String::new(), colour }
    }

    /// Adds a whole line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        self.add(text);
        self.end();
    }

    /// Adds to the line.
    pub(super) fn add(&mut self, text: impl AsRef<str>) {
        self.paint(Style::Plain, text);
    }

    /// Adds to the line, in colour where that is wanted.
    pub(super) fn paint(&mut self, style: Style, text: impl AsRef<str>) {
        self.put(style, &clean(text.as_ref()));
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        self.text.push('\n');
    }

    /// Adds rows in columns as wide as their widest cell, each row behind `indent` spaces.
    pub(super) fn table(&mut self, indent: usize, header: &[&str], rows: &[Vec<Cell>]) {
        let header: Vec<_> = header.iter().map(|title| Cell::new(Style::Faint, title)).collect();
        let widths = widths(&header, rows);
        self.row(indent, &widths, &header);
        for row in rows {
            self.row(indent, &widths, row);
        }
    }

    fn row(&mut self, indent: usize, widths: &[usize], cells: &[Cell]) {
        let filled = cells.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        self.pad(indent);
        for (index, cell) in cells.iter().take(filled).enumerate() {
            self.put(cell.style, &cell.text);
            if index + 1 < filled {
                self.pad(widths[index] + GAP - cell.width());
            }
        }
        self.end();
    }

    fn put(&mut self, style: Style, text: &str) {
        match style.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => self.text.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
            None => self.text.push_str(text),
        }
    }

    fn pad(&mut self, count: usize) {
        self.text.extend(std::iter::repeat_n(' ', count));
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

fn widths(header: &[Cell], rows: &[Vec<Cell>]) -> Vec<usize> {
    let column = |index: usize| rows.iter().filter_map(move |row| row.get(index)).map(Cell::width).max();
    header.iter().enumerate().map(|(index, title)| title.width().max(column(index).unwrap_or(0))).collect()
}

/// Without control characters: a line break inside a text becomes a space, what else a terminal would obey is marked.
fn clean(text: &str) -> String {
    let safe = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(safe).collect()
}

const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(colour: bool) -> String {
        let mut page = Page::new(colour);
        let rows = [
            vec![Cell::plain("iris"), Cell::new(Style::Good, "active"), Cell::plain("")],
            vec![Cell::plain("\u{e4}"), Cell::plain(""), Cell::plain("last")],
        ];
        page.table(1, &["NAME", "PHASE", "X"], &rows);
        page.into_text()
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        assert_eq!(sample(false), " NAME  PHASE   X\n iris  active\n \u{e4}             last\n");
    }

    #[test]
    fn colour_does_not_move_columns() {
        let coloured = sample(true);
        assert!(coloured.contains("\u{1b}[32mactive\u{1b}[0m"), "{coloured:?}");
        let mut bare = coloured;
        for code in ["\u{1b}[32m", "\u{1b}[2m", "\u{1b}[0m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, sample(false));
    }

    #[test]
    fn nobody_paints_the_terminal_from_afar() {
        let mut page = Page::new(true);
        page.line("a\u{1b}[2Jb\nc\u{9b}d");
        assert_eq!(page.into_text(), "a\u{fffd}[2Jb c\u{fffd}d\n");
    }
}
