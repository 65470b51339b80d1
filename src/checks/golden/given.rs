//! Requests that somebody has, and wants answers to: golden lines whose expectations do not matter, or bare requests.

use std::{path::Path, time::Duration};

use super::{
    case::{read_name, read_request},
    fields::Fields,
    file::{LINE_BYTES_MAX, LINES_MAX},
    reader::{Node, PROBLEMS_MAX, Reader},
    request::Request,
    settings::{Settings, timeout},
};
use crate::config::{Problem, Problems};

/// A request of such a list.
#[derive(Clone, Debug)]
pub struct Given {
    pub name: Option<String>,
    pub request: Request,
    /// Until the last byte of its answer.
    pub timeout: Duration,
    /// Bytes of its answer.
    pub answer_bytes_max: u64,
}

impl Given {
    /// Reads a list: JSON Lines, each a line of a golden file (its `name` and `expect` may be missing, and what is expected is
    /// not looked at) or what stands under its `request`. Empty lines and lines that begin with `#` are left out. `path` only
    /// names the text in problems.
    ///
    /// # Errors
    /// Every problem, in the order of the text, up to a bound.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Vec<Self>, Problems> {
        let (mut settings, mut all, mut problems) = (Settings::default(), Vec::new(), Vec::new());
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
        let told = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        for (count, (index, line)) in told.enumerate() {
            let mut reader = Reader::new(path.as_ref(), index + 1, line);
            if line.len() > LINE_BYTES_MAX || count > LINES_MAX {
                let message = "the line is longer than 16 MiB, or behind more than 10,000 others";
                reader.note(line.get(..1).unwrap_or_default(), "", message, "send fewer, or shorter requests");
            } else if let Some(node) = reader.root() {
                match is_settings(&node) {
                    true => settings = Settings::read(&mut reader, &node),
                    false => all.extend(read(&mut reader, &node, &settings)),
                }
            }
            problems.append(&mut reader.problems);
            if problems.len() >= PROBLEMS_MAX || count > LINES_MAX {
                break;
            }
        }
        if problems.is_empty() && all.is_empty() {
            let (file, message) = (path.as_ref().to_owned(), "there is no request in it".to_owned());
            let hint = Some("write one on each line: docs/golden.md".to_owned());
            problems.push(Problem { file, place: None, key: String::new(), message, hint });
        }
        if problems.is_empty() { Ok(all) } else { Err(problems.into()) }
    }
}

fn is_settings(node: &Node<'_>) -> bool {
    Fields::of(node).is_some_and(|fields| fields.find("golden").is_some())
}

fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>, settings: &Settings) -> Option<Given> {
    let (mut name, mut own) = (None, None);
    let is_line = Fields::of(node).is_some_and(|fields| fields.find("request").is_some());
    let request = if is_line {
        let fields = reader.object(node, &["name", "request", "expect", "timeout"])?;
        name = fields.find("name").and_then(|name| read_name(reader, name));
        own = fields.find("timeout").and_then(|node| timeout(reader, node));
        fields.find("request").and_then(|request| read_request(reader, request))
    } else {
        read_request(reader, node)
    };
    let (timeout, answer_bytes_max) = (own.unwrap_or(settings.timeout), settings.answer_bytes_max);
    Some(Given { name, request: request?, timeout, answer_bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: one of the ways to write a request is not read, or an expectation is held against it.
    #[test]
    fn lines_and_bare_requests_are_read() {
        let text = "{\"golden\": 1, \"need\": \"7 of 9\", \"timeout\": \"3s\", \"answer_max\": \"1 KiB\"}\n# a comment\n\n\
                    {\"name\": \"a\", \"request\": {\"path\": \"/a\", \"json\": [1]}, \"expect\": {\"nonsense\": 1}, \"timeout\": \"1s\"}\n\
                    {\"request\": {\"grpc\": {\"method\": \"/s/M\", \"base64\": \"\"}}}\n\
                    {\"path\": \"/b\", \"headers\": {\"x\": \"y\"}}\n";
        let all = Given::parse(text, "requests.jsonl").unwrap();
        let said: Vec<_> = all
            .iter()
            .map(|one| {
                (one.name.as_deref(), one.request.method.as_str(), one.request.path.as_str(), one.timeout.as_secs())
            })
            .collect();
        assert_eq!(said, [(Some("a"), "POST", "/a", 1), (None, "POST", "/s/M", 3), (None, "GET", "/b", 3)]);
        assert!(all.iter().all(|one| one.answer_bytes_max == 1024));
    }

    /// Fails when: a broken line is passed over, or its place is not told.
    #[test]
    fn problems_are_told_with_their_place() {
        let said = Given::parse("{\"path\": \"a\"}\n{\"pth\": \"/a\"}\n[]\n", "r").unwrap_err().lines().join("\n");
        assert!(said.contains("r:1:10") && said.contains("r:2:3") && said.contains("r:3:1"), "{said}");
        assert!(Given::parse("# nothing\n", "r").is_err());
    }
}
