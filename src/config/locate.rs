//! The way back from a setting to its place in the file, for problems that show only when a setting is used: a file
//! that it names cannot be read, say.

use std::path::Path;

use super::{
    Loaded, Problem,
    source::{Source, Tree},
};

impl Loaded {
    /// A problem of what a key names, such as `service[0].tls.ca`, in the file that this was loaded from.
    pub fn problem(&self, file: &Path, key: &str, message: impl Into<String>, hint: Option<String>) -> Problem {
        let unplaced =
            |message, hint| Problem { file: file.to_owned(), place: None, key: key.to_owned(), message, hint };
        let message = message.into();
        let Ok(tree) = Tree::parse(file, &self.text) else { return unplaced(message, hint) };
        let source = Source::new(file, &self.text, &tree);
        match source.span_of(key) {
            Some(span) => source.problem(span, message, hint),
            None => unplaced(message, hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_again_however_it_is_written() {
        let service = "name = \"a\"\nmatch.host = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n";
        for (tables, place) in [("[service.tls]\nca = \"x.pem\"\n", "14:6"), ("tls = { ca = \"x.pem\" }\n", "10:14")] {
            let dotted = tables.starts_with("tls");
            let (before, after) = if dotted { (tables, "") } else { ("", tables) };
            let second =
                format!("[[service]]\n{before}name = \"b\"\n[service.blue]\nendpoints = [\"http://h:2\"]\n{after}");
            let text = format!("version = 1\n\n\n[[service]]\n{service}{second}");
            let loaded = crate::config::parse(&text, "test.toml").unwrap();
            let problem = loaded.problem(
                Path::new("test.toml"),
                "service[1].tls.ca",
                "cannot be read",
                Some("mend it".to_owned()),
            );
            assert_eq!(problem.to_string(), format!("test.toml:{place}: service[1].tls.ca: cannot be read; mend it"));
        }
    }
}
