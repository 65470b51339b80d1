//! The house rules that a compiler does not check: which room may know which, door plates, and the size of files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room imports only rooms that stand before it.
const ROOMS: &[&str] = &[
    "ids",
    "telemetry",
    "config",
    "api",
    "switch",
    "net",
    "upstream",
    "table",
    "store",
    "shadow",
    "checks",
    "proxy",
    "control",
    "fleet",
    "admin",
    "cli",
    "demo",
    "app",
    "main",
];
/// Besides the order: the two planes do not know each other, and a control surface knows the controller by its handle.
const NEVER: &[(&str, &str)] = &[("control", "proxy"), ("admin", "proxy"), ("cli", "control"), ("cli", "proxy")];
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The room a source file belongs to; `None` for the front page.
fn room_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then(|| name.to_owned())
}

/// The rooms that a text names by `crate::` (in the binary: `verdigris::`), comments left out.
fn rooms_named(text: &str, root_path: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices(root_path) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
            continue;
        }
        let rest = &code[at + root_path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_heads(group)),
            None => rooms.push(identifier(rest)),
        }
    }
    rooms
}

/// The first identifier of each member of `{a::b, c::{d, e}, f}`, the opening brace already taken.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut member, mut heads) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(&std::mem::take(&mut member))),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    heads.push(identifier(&member));
    heads.retain(|head| !head.is_empty());
    heads
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn the_scanner_sees_every_way_to_name_a_room() {
    let text =
        "use crate::{ids::{A, B}, config::c, table};\nuse crate::net::X; // crate::admin\nfn f() { crate::proxy::g() }";
    assert_eq!(rooms_named(text, "crate::"), ["ids", "config", "table", "net", "proxy"]);
    assert!(rooms_named("$crate::a; other_crate::b", "crate::").is_empty());
}

/// Fails when: a room imports one that stands after it, or a new room has no place in the order.
#[test]
fn rooms_import_only_rooms_before_them() {
    let place = |room: &str| ROOMS.iter().position(|each| *each == room);
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let Some(room) = room_of(&file) else { continue };
        let Some(own) = place(&room) else {
            wrong.push(format!("{}: the room {room} has no place in the order", file.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        let root_path = if room == "main" { "verdigris::" } else { "crate::" };
        for named in rooms_named(&text, root_path) {
            let before = place(&named).is_some_and(|other| other <= own);
            if !before || NEVER.contains(&(room.as_str(), named.as_str())) {
                wrong.push(format!("{}: {room} must not import {named}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Fails when: a room has no purpose at its door, or does not say what it never does.
#[test]
fn every_door_has_its_plate() {
    let doors = rust_files(&root().join("src")).into_iter().filter(|file| file.ends_with("mod.rs"));
    let bare = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let plate: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        !plate.contains("Never")
    };
    // A door inside a room leads to a part of it, and the room's own plate holds there.
    let rooms = doors.filter(|file| file.strip_prefix(root().join("src")).unwrap().components().count() == 2);
    let bare: Vec<_> = rooms.filter(bare).collect();
    assert!(bare.is_empty(), "no \"Never\" in the first //! block of {bare:#?}");
}

/// Fails when: a file grows past what can be read in one sitting.
#[test]
fn no_file_is_too_long() {
    let files = ["src", "tests"].iter().flat_map(|dir| rust_files(&root().join(dir)));
    let long: Vec<_> = files.filter(|file| fs::read_to_string(file).unwrap().lines().count() > LINES_MAX).collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:#?}");
}

/// Fails when: two metrics share a name, or one lacks its help.
#[test]
fn metrics_have_names_of_their_own_and_help() {
    let mut names: Vec<_> = verdigris::telemetry::names::ALL.iter().map(|(name, _)| *name).collect();
    assert!(names.iter().all(|name| name.starts_with("verdigris_")));
    assert!(verdigris::telemetry::names::ALL.iter().all(|(_, help)| help.ends_with('.')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
