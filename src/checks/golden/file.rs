//! The whole file: JSON Lines, empty lines and lines that begin with `#` left out.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    case::Case,
    fields::Fields,
    reader::{Node, PROBLEMS_MAX, Reader},
    settings::Settings,
    verdict::{Need, Outcome, Tally, Verdict},
};
use crate::config::{Problem, Problems};

/// Golden requests that belong together.
#[derive(Clone, Debug)]
pub struct Set {
    cases: Vec<Case>,
    need: Need,
    /// Tells this text from another.
    checksum: u32,
}

impl Set {
    /// Reads and checks a file. Blocks on the disk.
    ///
    /// # Errors
    /// Every problem, in the order of the file: it cannot be read, is too large, is not UTF-8, or a line is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Problems> {
        let path = path.as_ref();
        let bytes = read_bytes(path).map_err(|error| unreadable(path, &error))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, path),
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                let message = format!("the file is not UTF-8 text; the first wrong byte is in line {line}");
                Err(of_file(path, message, "save it as UTF-8; bytes that are no text belong into `base64`"))
            }
        }
    }

    /// Checks the text of a file; `path` only names it in problems.
    ///
    /// # Errors
    /// Every problem, in the order of the file.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, Problems> {
        let mut draft = Draft::new(path.as_ref());
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if !draft.take(index + 1, line) {
                break;
            }
        }
        let set = draft.finish()?;
        Ok(Self { checksum: crc32fast::hash(text.as_bytes()), ..set })
    }

    /// It was read from the same text.
    pub fn is_same(&self, other: &Self) -> bool {
        self.checksum == other.checksum && self.cases.len() == other.cases.len()
    }

    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// At least so many must pass.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Whether enough of these verdicts on this set's requests are good. One that is missing counts as failed.
    pub fn tally(&self, verdicts: &[Verdict]) -> Tally {
        let count = |wanted: fn(&Outcome) -> bool| verdicts.iter().filter(|verdict| wanted(&verdict.outcome)).count();
        let passed = count(|outcome| matches!(outcome, Outcome::Passed));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let failed = self.cases.len().saturating_sub(passed + skipped);
        Tally { passed, failed, skipped, needed: self.need.of(self.cases.len()) }
    }
}

/// A file that is being read.
struct Draft<'t> {
    file: &'t Path,
    settings: Option<(Settings, Reader<'t>, Node<'t>)>,
    cases: Vec<Case>,
    /// The line of each name.
    names: HashMap<String, usize>,
    /// Lines that hold something.
    lines: usize,
    problems: Vec<Problem>,
}

impl<'t> Draft<'t> {
    fn new(file: &'t Path) -> Self {
        Self { file, settings: None, cases: Vec::new(), names: HashMap::new(), lines: 0, problems: Vec::new() }
    }

    /// Takes a line; false if there is no sense in reading on.
    fn take(&mut self, number: usize, line: &'t str) -> bool {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            return true;
        }
        self.lines += 1;
        let mut reader = Reader::new(self.file, number, line);
        if line.len() > LINE_BYTES_MAX || self.lines > LINES_MAX {
            let (message, hint) = match line.len() > LINE_BYTES_MAX {
                true => ("the line is longer than 16 MiB", "shorten the request, or the data that is compared"),
                false => {
                    ("more than 10,000 lines", "a gate sends them all to every endpoint: keep those that tell most")
                }
            };
            reader.note(line.get(..1).unwrap_or_default(), "", message, hint);
        } else if let Some(node) = reader.root() {
            self.read_line(&mut reader, &node, number);
        }
        self.problems.append(&mut reader.problems);
        self.problems.len() < PROBLEMS_MAX && self.lines <= LINES_MAX
    }

    fn read_line(&mut self, reader: &mut Reader<'t>, node: &Node<'t>, number: usize) {
        let is_settings = Fields::of(node).is_some_and(|fields| fields.find("golden").is_some());
        if is_settings && self.lines == 1 {
            let settings = Settings::read(reader, node);
            self.settings = Some((settings, Reader::new(self.file, number, reader.text), node.clone()));
            return;
        }
        if is_settings {
            return reader.refuse(node, "the settings do not stand first", "move this line to the top, and keep one");
        }
        let default = Settings::default();
        let settings = self.settings.as_ref().map_or(&default, |(settings, ..)| settings);
        let Some(case) = Case::read(reader, node, number, settings) else { return };
        if let Some(first) = self.names.insert(case.name().to_owned(), number) {
            let message = format!("the name {:?} is in line {first}, too", case.name());
            let name = Fields::of(node).and_then(|fields| fields.find("name").cloned());
            reader.refuse(&name.unwrap_or_else(|| node.clone()), message, "a report needs names of their own");
        }
        self.cases.push(case);
    }

    fn finish(mut self) -> Result<Set, Problems> {
        let need = match self.settings.take() {
            Some((settings, reader, node)) => self.settle(&settings, reader, &node),
            None => Need::All,
        };
        if self.problems.is_empty() && self.cases.is_empty() {
            return Err(of_file(
                self.file,
                "there is no golden request in it".to_owned(),
                "write one on each line: docs/golden.md",
            ));
        }
        if self.problems.is_empty() {
            Ok(Set { cases: self.cases, need, checksum: 0 })
        } else {
            Err(self.problems.into())
        }
    }

    /// The author's count is held against the file, once all of it was understood.
    fn settle(&mut self, settings: &Settings, mut reader: Reader<'t>, node: &Node<'t>) -> Need {
        if let Some(counted) =
            settings.counted.filter(|counted| self.problems.is_empty() && *counted != self.cases.len())
        {
            let need = Fields::of(node).and_then(|fields| fields.find("need").cloned()).unwrap_or_else(|| node.clone());
            let message = format!("it counts {counted} requests, the file has {}", self.cases.len());
            reader.refuse(&need, message, "correct the count, or write a share such as \"90 %\"");
            self.problems.append(&mut reader.problems);
        }
        settings.need
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "let the user that runs verdigris read it",
        io::ErrorKind::IsADirectory => "name the file in it, such as golden.jsonl",
        io::ErrorKind::FileTooLarge => "keep the requests that tell most; each endpoint is sent all of them",
        _ => "check the file and the disk it lies on",
    };
    of_file(path, format!("cannot read the golden file: {error}"), hint)
}

fn of_file(path: &Path, message: String, hint: &str) -> Problems {
    let file = path.to_owned();
    Problems::from(Problem { file, place: None, key: String::new(), message, hint: Some(hint.to_owned()) })
}

const FILE_BYTES_MAX: u64 = 64 << 20;
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
pub(super) const LINES_MAX: usize = 10_000;
