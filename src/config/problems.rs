//! What is wrong with a file: where, why, and what to write instead.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// One thing that is wrong (or, as a warning, probably not meant).
///
/// `Display` gives one line: `config.toml:12:10: service[0].active: unknown slot "purple"; write "blue" or "green"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// `None` if the problem is the file itself.
    pub place: Option<Place>,
    /// Such as `service[1].blue.endpoints[0]`; empty if no key is meant.
    pub key: String,
    pub message: String,
    /// What to write instead, or what to do.
    pub hint: Option<String>,
}

/// Where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Characters that are meant, at least 1, all on this line.
    pub width: usize,
    /// The line as it stands in the file; of a very long one, the part round the place.
    pub source: String,
    /// Characters of the line that `source` leaves out before its first; 0 unless the line is very long.
    pub skipped: usize,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, message: String, hint: &str) -> Self {
        Self { file: file.to_owned(), place: None, key: String::new(), message, hint: Some(hint.to_owned()) }
    }

    /// Several lines for a terminal: the problem, the line of the file, carets under what is meant, and the hint.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.subject());
        text += &self.place.as_ref().map_or_else(|| self.render_file(), |place| self.render_place(place));
        if let Some(hint) = &self.hint {
            text += &format!("{} = help: {hint}\n", " ".repeat(self.gutter()));
        }
        text
    }

    fn render_file(&self) -> String {
        format!(" --> {}\n", self.file.display())
    }

    fn render_place(&self, place: &Place) -> String {
        let Place { line, column, width, source, skipped } = place;
        let gutter = " ".repeat(self.gutter());
        // Tabs stay tabs, so that the carets stand under the text however wide the terminal draws them.
        let indent: String = source
            .chars()
            .take((column - 1).saturating_sub(*skipped))
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        let shown: String = source.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        format!(
            "{gutter}--> {}:{line}:{column}\n{gutter} |\n{line} | {shown}\n{gutter} | {indent}{}\n",
            self.file.display(),
            "^".repeat(*width),
        )
    }

    /// As wide as the line number.
    fn gutter(&self) -> usize {
        self.place.as_ref().map_or(1, |place| place.line.to_string().len())
    }

    fn subject(&self) -> String {
        if self.key.is_empty() { self.message.clone() } else { format!("{}: {}", self.key, self.message) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", self.subject())?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Why a file was refused: at least one problem, in the order of the file.
///
/// `Display` gives one line for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines().join("\n"))]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Each problem as one line.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(Problem::to_string).collect()
    }

    /// All problems for a terminal, with the lines of the file, and how many there are.
    pub fn render(&self) -> String {
        let blocks: Vec<_> = self.0.iter().map(Problem::render).collect();
        let count = match self.0.len() {
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        };
        format!("{}\n{count}\n", blocks.join("\n"))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(mut problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "a refusal without a reason");
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
        Self(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purple() -> Problem {
        Problem {
            file: "config.toml".into(),
            place: Some(Place { line: 12, column: 11, width: 8, source: "\tactive = \"purple\"".into(), skipped: 0 }),
            key: "service[0].active".into(),
            message: "unknown slot \"purple\"".into(),
            hint: Some("write \"blue\" or \"green\"".into()),
        }
    }

    #[test]
    fn a_problem_is_one_line() {
        assert_eq!(
            purple().to_string(),
            "config.toml:12:11: service[0].active: unknown slot \"purple\"; write \"blue\" or \"green\""
        );
    }

    #[test]
    fn a_terminal_gets_the_line_and_carets_under_it() {
        let expected = "\
error: service[0].active: unknown slot \"purple\"
  --> config.toml:12:11
   |
12 | \tactive = \"purple\"
   | \t         ^^^^^^^^
   = help: write \"blue\" or \"green\"

1 problem
";
        assert_eq!(Problems::from(purple()).render(), expected);
    }

    #[test]
    fn problems_stand_in_the_order_of_the_file() {
        let mut first = purple();
        first.place.as_mut().unwrap().line = 3;
        let problems = Problems::from(vec![purple(), first.clone()]);
        assert_eq!(problems.lines(), [first.to_string(), purple().to_string()]);
        assert_eq!(problems.to_string().lines().count(), 2);
    }
}
