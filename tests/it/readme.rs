//! The README says what is there: no word of it is missing, none is made up.

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory as _;
use serde_json::Value;
use verdigris::{
    cli::{self, ExitCode},
    config,
    proxy::INFERENCE_ENDINGS,
    telemetry::{FailureKind, names},
};

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README between a heading and the next one of its level or above.
fn section(heading: &str) -> String {
    let text = read("README.md");
    let level = |line: &str| line.chars().take_while(|character| *character == '#').count();
    let begins = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let lines = text[begins + 1..].lines().skip(1);
    let ends = |line: &str| (1..=level(heading)).contains(&level(line));
    lines.take_while(|line| !ends(line)).map(|line| format!("{line}\n")).collect()
}

/// The words between back quotes.
fn quoted(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The cells of the rows of all tables, without headings.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|--");
    let heads = |at: usize| lines.get(at + 1).is_some_and(is_rule);
    let body = lines.iter().enumerate().filter(|(at, line)| line.starts_with('|') && !is_rule(line) && !heads(*at));
    let inner = |line: &'_ &'_ str| line.len() - 1;
    body.map(|(_, line)| line[1..inner(line)].split('|').map(str::trim).collect()).collect()
}

/// What stands between back quotes in the first cell of each row.
fn firsts<'t>(rows: &[Vec<&'t str>]) -> BTreeSet<&'t str> {
    rows.iter().flat_map(|row| quoted(row[0])).collect()
}

/// Both sets are the same.
fn assert_same(what: &str, documented: &BTreeSet<&str>, real: &BTreeSet<&str>) {
    let missing: Vec<_> = real.difference(documented).collect();
    let made_up: Vec<_> = documented.difference(real).collect();
    assert!(missing.is_empty() && made_up.is_empty(), "{what}: not in the README: {missing:?}; made up: {made_up:?}");
}

/// Fails when: a metric is added without a line in the README, or a line names none.
#[test]
fn every_metric_is_documented() {
    let text = section("## Metrics");
    assert_same("metrics", &firsts(&rows(&text)), &names::ALL.iter().map(|(name, _)| *name).collect());
    let page = read("README.md");
    for word in quoted(&page).iter().filter(|word| word.starts_with("verdigris_")) {
        assert!(names::ALL.iter().any(|(name, _)| name == word), "there is no metric {word}");
    }
}

/// Fails when: a kind of failure is added without a line in the README, or its statuses change.
#[test]
fn every_failure_is_documented_with_its_statuses() {
    let text = section("## What a client sees");
    let rows: Vec<_> = rows(&text).into_iter().filter(|row| row.len() == 5).collect();
    assert_same("failures", &firsts(&rows), &FailureKind::ALL.iter().map(|kind| kind.as_str()).collect());
    for kind in FailureKind::ALL {
        let row = rows.iter().find(|row| quoted(row[0]) == [kind.as_str()]).unwrap();
        assert_eq!(row[1..3], [kind.status().to_string(), kind.grpc_status().to_string()], "{kind}");
        assert!(!row[3].is_empty() && !row[4].is_empty(), "{kind}: what happened, and what to do");
    }
}

/// Fails when: a path may be replayed without a word about it, or the README promises one that is not.
#[test]
fn every_inference_path_is_documented() {
    let text = section("### Replay");
    let list: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("* ")).collect();
    let list = list.join("\n");
    let documented = quoted(&list).into_iter().filter(|word| word.starts_with(['/', ':'])).collect();
    assert_same("inference paths", &documented, &INFERENCE_ENDINGS.iter().copied().collect());
}

/// Fails when: the README names a replay policy that the file does not take.
#[test]
fn every_replay_policy_is_taken() {
    let text = section("### Replay");
    let rows = rows(&text);
    assert_eq!(rows.len(), 4);
    for policy in firsts(&rows) {
        let service =
            format!("[[service]]\nname = \"a\"\nreplay = {policy}\n[service.blue]\nendpoints = [\"http://h:1\"]\n");
        config::parse(&format!("version = 1\n{service}"), "a.toml").unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// The keys of `config/reference.toml`, each with its default if a commented line shows it.
fn reference_keys() -> Vec<(String, Option<String>)> {
    let mut keys = Vec::new();
    let mut table = String::new();
    for line in read("config/reference.toml").lines() {
        let (is_default, line) = line.strip_prefix("# ").map_or((false, line), |rest| (true, rest));
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_start_matches('[').split(']').next().unwrap_or_default());
        }
        let Some((key, rest)) = line.split_once(" = ") else { continue };
        if !key.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.')) {
            continue;
        }
        let (value, comment) = rest.split_once("  #").map_or((rest, ""), |(value, comment)| (value.trim(), comment));
        let default = (is_default && !comment.contains("no default")).then(|| value.to_owned());
        keys.push((format!("{table}{key}"), default));
    }
    keys
}

/// Fails when: a key is added without a line in the README, or its default changes.
#[test]
fn every_key_is_documented_with_its_default() {
    let text = section("## Configuration reference");
    let rows: Vec<_> = rows(&text).into_iter().filter(|row| row.len() == 4).collect();
    let keys = reference_keys();
    assert_same("keys", &firsts(&rows), &keys.iter().map(|(key, _)| key.as_str()).collect());
    for (key, default) in &keys {
        let row = rows.iter().find(|row| quoted(row[0]).contains(&key.as_str())).unwrap();
        assert!(!row[1].is_empty() && !row[3].is_empty(), "{key}: type and meaning");
        if let Some(default) = default {
            assert_eq!(row[2], format!("`{default}`"), "{key}");
        }
    }
}

/// Fails when: a configuration in the README does not load, or loads with a warning.
#[test]
fn its_configurations_load() {
    let text = read("README.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks.filter(|block| block.starts_with("version = 1")).collect();
    assert!(whole.len() >= 2);
    for block in whole {
        let loaded = config::parse(block, "README.md").unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}

/// Fails when: a command or one of its flags is added without a word in the README, or is gone.
#[test]
fn every_command_and_flag_is_documented() {
    let text = section("## Commands");
    let rows: Vec<_> = rows(&text).into_iter().filter(|row| row.len() == 3).collect();
    let program = cli::Args::command();
    let commands: BTreeSet<String> =
        program.get_subcommands().map(|command| format!("verdigris {}", command.get_name())).collect();
    assert_same("commands", &firsts(&rows), &commands.iter().map(String::as_str).collect());
    for command in program.get_subcommands() {
        let name = format!("verdigris {}", command.get_name());
        let row = rows.iter().find(|row| quoted(row[0]) == [&name]).unwrap();
        let flags: BTreeSet<String> =
            command.get_arguments().filter_map(|flag| flag.get_long()).map(|flag| format!("--{flag}")).collect();
        assert_same(&name, &quoted(row[2]).into_iter().collect(), &flags.iter().map(String::as_str).collect());
    }
    for flag in program.get_arguments().filter_map(|flag| flag.get_long()) {
        assert!(text.contains(&format!("`--{flag}")), "--{flag}");
    }
}

/// Fails when: an exit code has no line, or a line has no code.
#[test]
fn every_exit_code_is_documented() {
    use ExitCode::{Conflict, Done, Failed, NotDrained, Refused, Unreachable, Usage};
    let codes =
        [Done, Failed, Refused, NotDrained, Conflict, Unreachable, Usage].map(|code| u8::from(code).to_string());
    let text = section("### Exit codes");
    assert_eq!(rows(&text).iter().map(|row| row[0]).collect::<Vec<_>>(), codes);
}

/// Fails when: a call of the admin API is added without a line in the README, or answers with another status.
#[test]
fn every_call_is_documented_with_its_statuses() {
    let text = section("## Admin API");
    let rows: Vec<_> =
        rows(&text).into_iter().filter(|row| quoted(row[0]).iter().any(|word| word.contains(" /"))).collect();
    let document: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let mut calls = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let row = rows.iter().find(|row| quoted(row[0]) == [&name]);
            let row = row.unwrap_or_else(|| panic!("{name} is not in the README's table"));
            let words = row[2].split(|character: char| !character.is_ascii_digit());
            let answers: BTreeSet<&str> = words.filter(|word| word.len() == 3).collect();
            assert_same(&name, &answers, &call["responses"].as_object().unwrap().keys().map(String::as_str).collect());
            calls.insert(name);
        }
    }
    assert_same("calls", &firsts(&rows), &calls.iter().map(String::as_str).collect());
}

/// Fails when: the admin API can refuse in a way that the README does not list.
#[test]
fn every_refusal_is_documented() {
    let text = section("## Admin API");
    let is_word = |row: &Vec<&str>| row[1].len() == 3 && row[1].bytes().all(|byte| byte.is_ascii_digit());
    let rows: Vec<_> = rows(&text).into_iter().filter(is_word).collect();
    let document: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let kinds = document["components"]["schemas"]["ProblemKind"]["enum"].as_array().unwrap();
    assert_same("refusals", &firsts(&rows), &kinds.iter().filter_map(Value::as_str).collect());
    for row in rows {
        let kind: verdigris::api::ProblemKind = serde_json::from_value(quoted(row[0])[0].into()).unwrap();
        assert_eq!(row[1], kind.status().to_string(), "{kind:?}");
    }
}

/// Fails when: a promise names a test that is not there, or one that does not say how to break the program.
#[test]
fn every_promise_has_its_tests() {
    let mut sources = String::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        sources += &fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
    }
    let text = section("## The promises");
    let rows = rows(&text);
    let promises: Vec<&str> = rows.iter().filter_map(|row| row[0].split("**").nth(1)).collect();
    assert_eq!(promises, ["P1", "P2", "P3", "P4", "P5", "P7"]);
    let kept_in_part: Vec<&str> = text.lines().filter(|line| !line.starts_with('|')).collect();
    let kept_in_part = kept_in_part.join("\n");
    let others = quoted(&kept_in_part).into_iter().filter(|word| word.contains('_') && !word.contains('/'));
    for test in rows.iter().flat_map(|row| quoted(row[1])).chain(others) {
        let at = sources.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("there is no test {test}"));
        let above = sources[..at].lines().rev().skip_while(|line| line.starts_with("async") || line.starts_with("#["));
        let mut comment = above.take_while(|line| line.starts_with("///"));
        assert!(comment.any(|line| line.contains("Fails when:")), "{test} does not say when it fails");
    }
}

/// Fails when: the README leads to a place that is not there.
#[test]
fn every_link_and_file_is_there() {
    let text = read("README.md");
    let anchors = anchors(&text);
    let links: Vec<&str> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links.into_iter().filter(|link| !link.starts_with("https://")) {
        match link.strip_prefix('#') {
            Some(place) => assert!(anchors.contains(place), "{link}: {anchors:?}"),
            None => match link.split_once('#') {
                Some((page, place)) => assert!(self::anchors(&read(page)).contains(place), "{link}"),
                None => assert!(is_there(link), "{link}"),
            },
        }
    }
    let folders = ["config/", "tests/", "src/", "docs/", "benches/", ".ci/"];
    let is_file = |word: &&str| folders.iter().any(|folder| word.starts_with(folder));
    let files: Vec<&str> = quoted(&text).into_iter().filter(is_file).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(file.split([' ', ':']).next().is_some_and(is_there), "{file}");
    }
}

fn is_there(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// A heading as a link names it.
fn anchor(title: &str) -> String {
    let plain = title.trim().to_lowercase().replace(' ', "-");
    plain.chars().filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_')).collect()
}
