//! The files in `config/` are read by newcomers first, so they have to be right, and the reference complete and true.

use std::{collections::BTreeSet, fs, path::PathBuf};

use toml::{Table, Value};

use super::{load, parse, schema};

fn samples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// The reference with the comment mark taken off each line that shows a key.
fn reference_with_all_keys() -> String {
    let text = fs::read_to_string(samples().join("reference.toml")).unwrap();
    let shows_a_key = |line: &str| {
        let (before, _) = line.split_once(" = ")?;
        let key = before.strip_prefix("# ")?;
        key.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.')).then(|| line[2..].to_owned())
    };
    text.lines().map(|line| shows_a_key(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn every_sample_loads_without_a_warning() {
    let mut count = 0;
    for entry in fs::read_dir(samples()).unwrap() {
        let path = entry.unwrap().path();
        let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [""; 0], "{}", path.display());
        // In a container, loopback is the container itself: only its sample listens to the outside.
        let outside = path.ends_with("docker.toml");
        assert_eq!(loaded.settings.proxy.listen.ip().is_loopback(), !outside, "{}", path.display());
        count += 1;
    }
    assert!(count >= 4, "only {count} samples");
}

#[test]
fn the_reference_names_every_key_of_the_schema() {
    let text = reference_with_all_keys();
    parse(&text, "reference.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let mut named = BTreeSet::new();
    keys(&Value::Table(text.parse::<Table>().unwrap()), "", &mut named);
    let missing: Vec<_> = schema_keys().into_iter().filter(|key| !named.contains(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_reference_shows_true_defaults() {
    let path = samples().join("reference.toml");
    let shown = parse(&reference_without("no default"), &path).unwrap().settings;
    assert_eq!(shown, load(&path).unwrap().settings);
}

/// All keys, but for the lines that say this.
fn reference_without(words: &str) -> String {
    let original = fs::read_to_string(samples().join("reference.toml")).unwrap();
    let all = reference_with_all_keys();
    let chosen =
        |(with, without): (&str, &str)| if with.contains(words) { without.to_owned() } else { with.to_owned() };
    all.lines().zip(original.lines()).map(|pair| chosen(pair) + "\n").collect()
}

fn keys(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => table.iter().for_each(|(key, inner)| {
            let path = format!("{at}.{key}").trim_start_matches('.').to_owned();
            keys(inner, &path, into);
            into.insert(path);
        }),
        Value::Array(array) => array.iter().for_each(|inner| keys(inner, at, into)),
        _ => {}
    }
}

/// Asks the schema itself: a wrong key in each table makes serde list the right ones.
fn schema_keys() -> Vec<String> {
    let mut found = Vec::new();
    let mut tables = vec![String::new()];
    while let Some(table) = tables.pop() {
        for key in known_in(&table) {
            let path = format!("{table}.{key}").trim_start_matches('.').to_owned();
            tables.push(path.clone());
            found.push(path);
        }
    }
    found
}

/// The keys that may stand in this table; none if it is no table.
fn known_in(table: &str) -> Vec<String> {
    let inside = table.strip_prefix("service").map(|rest| rest.trim_start_matches('.'));
    let text = match (table, inside) {
        ("", _) => "wrong = 1".to_owned(),
        (_, Some("")) => "[[service]]\nwrong = 1".to_owned(),
        // Of the two slots, which are alike, the reference shows the pair in green.
        ("service.green.endpoints", Some(rest)) => format!("[[service]]\n{rest} = [{{ wrong = 1 }}]"),
        (_, Some(rest)) => format!("[[service]]\n{rest}.wrong = 1"),
        _ => format!("{table}.wrong = 1"),
    };
    let error = toml::from_str::<schema::File>(&text).err().map(|error| error.message().to_owned()).unwrap_or_default();
    match error.strip_prefix("unknown field `wrong`, ") {
        Some(known) => known.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        None => Vec::new(),
    }
}
