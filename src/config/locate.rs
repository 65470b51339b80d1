//! The way back from a setting to its place in the file, for problems that show only when a setting is used: a file
//! that it names cannot be read, say.

use std::path::Path;

use super::{
    Loaded, Problem,
    source::{Source, Step, Tree},
};

impl Loaded {
    /// A problem of a key of the service at this index, such as `["tls", "ca"]`, in the file that this was loaded from.
    pub fn problem_of_service(&self, file: &Path, service: usize, keys: &[&str], message: &str, hint: &str) -> Problem {
        let mut path = vec![Step::Key("service".into()), Step::Index(service)];
        path.extend(keys.iter().map(|key| Step::Key((*key).to_owned())));
        let located = Tree::parse(file, &self.text).ok().and_then(|tree| {
            let source = Source::new(file, &self.text, &tree);
            let span = source.span(&path)?;
            Some(source.problem(span, message, Some(hint.to_owned())))
        });
        located.unwrap_or_else(|| Problem::of_file(file, message.to_owned(), hint))
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
            let problem =
                loaded.problem_of_service(Path::new("test.toml"), 1, &["tls", "ca"], "cannot be read", "mend it");
            assert_eq!(problem.to_string(), format!("test.toml:{place}: service[1].tls.ca: cannot be read; mend it"));
        }
    }
}
