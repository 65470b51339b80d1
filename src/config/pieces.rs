//! Reads a file piece by piece, a service at a time, and takes over what has not changed since it was read last: of
//! thousands of services a reload changes a few.
//!
//! A piece begins at a line that begins with `[[service]]`. It counts only if it is TOML by itself and says exactly one
//! service; so it cannot begin or end within a text of several lines, and together the pieces mean what the whole file
//! means. Where anything is otherwise, or there is anything to tell of the file, the whole of it is read instead.

use std::{cell::OnceCell, collections::HashMap, path::Path, sync::Arc};

use serde::Deserialize as _;
use toml::Deserializer;

use super::{
    Breather, Loaded, check,
    read::read,
    schema::File,
    settings::{ServiceSettings, Settings},
    source::{Source, Tree},
};

/// `None` if the file is to be read as a whole.
pub(super) fn read_pieces(text: &str, path: &Path, before: Option<&Loaded>) -> Option<Settings> {
    let before = Before::new(before);
    let (head, pieces) = split(text);
    let mut services = Vec::with_capacity(pieces.len());
    let mut breather = Breather::begin();
    for (index, piece) in pieces.into_iter().enumerate() {
        services.push(before.service(index, piece).or_else(|| service(piece, path))?);
        breather.step();
    }
    let tree = Tree::parse(path, head).ok()?;
    let source = Source::new(path, head, &tree);
    let file = read(&tree, &source).ok().filter(|file| file.service.is_empty() && !services.is_empty())?;
    check::check_parts(&file, &source, services)
}

/// What stands before the services, and each of them.
fn split(text: &str) -> (&str, Vec<&str>) {
    let at_line_start = |at: &usize| *at == 0 || text.as_bytes()[at - 1] == b'\n';
    let starts: Vec<usize> =
        memchr::memmem::find_iter(text.as_bytes(), HEADER.as_bytes()).filter(at_line_start).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]).collect();
    (&text[..starts.first().copied().unwrap_or(text.len())], pieces)
}

/// The one service of a piece.
fn service(piece: &str, path: &Path) -> Option<Arc<ServiceSettings>> {
    let tree = Tree::parse(path, piece).ok()?;
    let mut keys = tree.0.get_ref().keys();
    if keys.next()?.get_ref() != "service" || keys.next().is_some() {
        return None;
    }
    let file = File::deserialize(Deserializer::from(tree.0.clone())).ok()?;
    let [service] = file.service.as_slice() else { return None };
    check::check_service(service, &Source::new(path, piece, &tree))
}

/// The services of the file that was read before.
struct Before<'b> {
    pieces: Vec<&'b str>,
    services: &'b [Arc<ServiceSettings>],
    /// By their text, for when they stand elsewhere now.
    by_text: OnceCell<HashMap<&'b str, &'b Arc<ServiceSettings>>>,
}

impl<'b> Before<'b> {
    fn new(before: Option<&'b Loaded>) -> Self {
        let known = before.filter(|before| before.in_pieces);
        Self {
            pieces: known.map(|before| split(&before.text).1).unwrap_or_default(),
            services: known.map_or(&[], |before| &before.settings.services),
            by_text: OnceCell::new(),
        }
    }

    fn service(&self, index: usize, piece: &str) -> Option<Arc<ServiceSettings>> {
        if self.pieces.get(index) == Some(&piece) {
            return self.services.get(index).cloned();
        }
        let by_text = || self.pieces.iter().copied().zip(self.services).collect();
        self.by_text.get_or_init(by_text).get(piece).copied().cloned()
    }
}

const HEADER: &str = "[[service]]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FileContent, parse};

    const PATH: &str = "/etc/verdigris/test.toml";

    fn service_text(name: &str, version: &str) -> String {
        format!(
            "[[service]]\nname = \"{name}\"\nmatch.host = \"{name}\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n\
             version = \"{version}\"\n[service.health]\npath = \"/ready\"\n"
        )
    }

    fn text(head: &str, services: &[(&str, &str)]) -> String {
        let services: String = services.iter().map(|(name, version)| service_text(name, version)).collect();
        format!("version = 1\n{head}{services}")
    }

    fn after(text: &str, before: &Loaded) -> Loaded {
        let content = FileContent { path: PATH.into(), bytes: text.into(), hash: String::new() };
        content.parse_after(Some(before)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Fails when: `service` reads a piece that stands in the file before, or gives one service what another says.
    #[test]
    fn services_that_are_written_as_before_are_taken_over() {
        let before = parse(&text("", &[("a", "1"), ("b", "1"), ("c", "1")]), PATH).unwrap();
        assert!(before.in_pieces);
        let moved = text("[proxy]\nworkers = 3\n", &[("new", "1"), ("c", "1"), ("b", "2"), ("a", "1")]);
        let now = after(&moved, &before);
        let (old, new) = (&before.settings.services, &now.settings.services);
        assert!(Arc::ptr_eq(&old[0], &new[3]) && Arc::ptr_eq(&old[2], &new[1]));
        assert_eq!(now.settings, parse(&moved, PATH).unwrap().settings);
        assert_eq!((new[2].name.as_str(), new[2].slots.blue.version.as_deref()), ("b", Some("2")));
    }

    /// Fails when: pieces are taken for services although the file as a whole says something else.
    #[test]
    fn what_only_looks_like_a_service_is_not_taken_for_one() {
        let inside = "[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\nversion = '''\n[[service]]\nname = \"b\"\n'''\n";
        let before = parse(&text("", &[("a", "1")]), PATH).unwrap();
        for odd in [
            format!("version = 1\n{inside}"),
            "version = 1\n[proxy]\nworkers = 1\n[[service]]\nname = \"a\"\n[proxy.limits]\nheaders_max = 9\n"
                .to_owned(),
            "version = 1\n[proxy]\nworkers = 1\n[[service]]\nname = \"a\"\n[proxy]\nworkers = 2\n".to_owned(),
            "version = 1\nservice = []\n[[service]]\nname = \"a\"\n".to_owned(),
            "version = 1\n  [[service]]\nname = \"z\"\n[[service]]\nname = \"a\"\n".to_owned(),
            text("", &[("a", "1"), ("a", "2")]),
            text("", &[]),
        ] {
            assert!(read_pieces(&odd, Path::new(PATH), Some(&before)).is_none(), "{odd}");
        }
    }

    /// Fails when: a problem or a warning is told with the place in its piece, or not told again by the next reading.
    #[test]
    fn what_is_to_be_told_has_its_place_in_the_whole_file() {
        let good = text("", &[("a", "1"), ("b", "1")]);
        let before = parse(&good, PATH).unwrap();
        let content = |text: String| FileContent { path: PATH.into(), bytes: text.into(), hash: String::new() };
        let bad = content(good.replace("name = \"b\"", "name = \"b b\"")).parse_after(Some(&before)).unwrap_err();
        assert!(bad.to_string().contains(":11:8: service[1].name"), "{bad}");
        let warned = content(good.replace("path = \"/ready\"\n", "")).parse_after(Some(&before)).unwrap();
        assert_eq!((warned.warnings.len(), warned.in_pieces), (2, false));
        let again = content(warned.text.clone()).parse_after(Some(&warned)).unwrap();
        assert_eq!(again.warnings, warned.warnings);
    }
}
