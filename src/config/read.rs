//! From TOML to the schema: every unknown key and every value of a wrong type, with what was probably meant.

use serde::Deserialize;
use toml::{
    Deserializer,
    de::{DeTable, DeValue, Error},
};

use super::{
    Problem, Problems,
    schema::File,
    source::{Source, Span, Step, Tree},
    spelling::nearest,
};

/// Serde stops at the first error. So what it complains of is cut out of a copy of the tree, and it is asked again,
/// until nothing is left to complain of. Nothing of a file with a problem is used.
pub(super) fn read(tree: &Tree<'_>, source: &Source<'_>) -> Result<File, Problems> {
    check_version(tree, source)?;
    if let Ok(file) = File::deserialize(Deserializer::from(tree.0.clone())) {
        return Ok(file);
    }
    let mut rest = tree.0.clone();
    let mut problems = Vec::new();
    loop {
        match File::deserialize(Deserializer::from(rest.clone())) {
            Ok(file) if problems.is_empty() => return Ok(file),
            Ok(_) => return Err(problems.into()),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                problems.push(explain(&error, &span, source));
                let cut = source.path(&span).is_some_and(|path| cut_out(rest.get_mut(), path));
                if !cut || problems.len() == PROBLEMS_MAX {
                    return Err(problems.into());
                }
            }
        }
    }
}

/// A file without `version` may be an empty or half-written one; one with another version may mean other keys.
fn check_version(tree: &Tree<'_>, source: &Source<'_>) -> Result<(), Problems> {
    let table = tree.0.get_ref();
    let Some(version) = table.get("version") else {
        let found = if table.is_empty() { "the file says nothing" } else { "`version` is missing" };
        return Err(source.problem(0..0, found, Some("begin it with `version = 1`".into())).into());
    };
    match version.get_ref() {
        DeValue::Integer(number) if number.as_str() == "1" => Ok(()),
        _ => {
            let message = "this program understands only version 1 of the file";
            Err(source.problem(version.span(), message, Some("write `version = 1`".into())).into())
        }
    }
}

fn explain(error: &Error, span: &Span, source: &Source<'_>) -> Problem {
    let message = error.message();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return explain_unknown(rest, span, source);
    }
    match (message.rsplit_once(", expected "), source.type_at(span)) {
        (Some((_, expected)), Some(found)) if message.starts_with("invalid type") => {
            explain_type(expected, found, span, source)
        }
        _ => source.problem(span.clone(), message, None),
    }
}

/// `rest` is serde's "`wrong`, expected one of `a`, `b`": the words in backticks are what was written and what is known.
fn explain_unknown(rest: &str, span: &Span, source: &Source<'_>) -> Problem {
    let words: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let Some((wrong, known)) = words.split_first() else { return source.problem(span.clone(), "unknown key", None) };
    if let Some((_, message)) = PLANNED.iter().find(|(key, _)| key == wrong) {
        return source.problem(span.clone(), *message, Some("leave it out".into()));
    }
    let hint = nearest(wrong, known)
        .map(|meant| format!("did you mean `{meant}`?"))
        .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
    source.problem(span.clone(), format!("unknown key `{}`", wrong.escape_debug()), Some(hint))
}

fn explain_type(expected: &str, found: &str, span: &Span, source: &Source<'_>) -> Problem {
    let is_service = source.path(span) == Some(&[Step::Key("service".into())]);
    let (expected, hint) = match expected {
        "a sequence" if is_service => ("a list", Some("write `[[service]]` with two brackets on each side")),
        "a sequence" => ("a list", Some("put it in brackets: [ … ]")),
        "a string" if !matches!(found, "table" | "array") => ("a string", Some("put it in quotes")),
        "i64" => ("a whole number", None),
        "a map" => ("a table", None),
        other => (other, None),
    };
    let message = format!("expected {expected}, found {} {found}", article(found));
    source.problem(span.clone(), message, hint.map(str::to_owned))
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Takes out the innermost *key* on the path: an element of an array stays, lest its neighbours' indexes change.
fn cut_out(table: &mut DeTable<'_>, path: &[Step]) -> bool {
    let Some(last) = path.iter().rposition(|step| matches!(step, Step::Key(_))) else { return false };
    let Step::Key(key) = &path[last] else { return false };
    walk(table, &path[..last]).is_some_and(|inner| inner.remove(key.as_str()).is_some())
}

fn walk<'a, 't>(table: &'a mut DeTable<'t>, path: &[Step]) -> Option<&'a mut DeTable<'t>> {
    let Some((Step::Key(key), mut rest)) = path.split_first() else { return Some(table) };
    let mut value = table.get_mut(key.as_str())?.get_mut();
    while let Some((Step::Index(index), after)) = rest.split_first() {
        let DeValue::Array(array) = value else { return None };
        value = array.get_mut(*index)?.get_mut();
        rest = after;
    }
    let DeValue::Table(inner) = value else { return None };
    walk(inner, rest)
}

/// Keys that people know from elsewhere or from our plans.
const PLANNED: [(&str, &str); 2] = [
    ("model", "matching on `model` in a JSON body is not supported by this version"),
    ("tls", "TLS on the listener is not supported by this version"),
];

/// A file in a wrong format altogether would otherwise make a page of each line.
const PROBLEMS_MAX: usize = 30;
