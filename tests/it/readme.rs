//! The README says what is there: no word of it is missing, none is made up.

use std::fs;

use verdigris::{
    config,
    telemetry::{FailureKind, names},
};

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words between back quotes in the rows of tables.
fn quoted(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Fails when: a metric is added without a line in the README, or a line names none.
#[test]
fn every_metric_is_documented() {
    let text = read("README.md");
    let words = quoted(&text);
    for (name, _) in names::ALL {
        assert!(words.contains(name), "{name} is not in the README's table");
    }
    for word in words.iter().filter(|word| word.starts_with("verdigris_")) {
        assert!(names::ALL.iter().any(|(name, _)| name == word), "there is no metric {word}");
    }
}

/// Fails when: a kind of failure is added without a line in the README, or its statuses change.
#[test]
fn every_failure_is_documented_with_its_statuses() {
    let text = read("README.md");
    for kind in FailureKind::ALL {
        let quoted = format!("`{kind}`");
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(&quoted));
        let row = row.unwrap_or_else(|| panic!("{kind} is not in the README's table"));
        let statuses = format!("| {} | {} |", kind.status(), kind.grpc_status());
        assert!(row.contains(&statuses), "{row}: {statuses}");
    }
}

/// Fails when: a promise names a test that is not there.
#[test]
fn every_promise_has_its_tests() {
    let text = read("README.md");
    let sources: String = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    let promises: Vec<&str> = text.lines().filter(|line| line.starts_with("| **P")).collect();
    assert!(promises.len() >= 6, "{promises:?}");
    for row in promises {
        let tests: Vec<&str> =
            quoted(row).into_iter().filter(|word| word.contains('_') && !word.contains("to_delete`")).collect();
        let named = tests.iter().filter(|test| sources.contains(&format!("fn {test}("))).count();
        assert!(named >= 2, "{row}: names {named} tests");
        for test in tests.iter().filter(|test| **test != "safe_to_delete") {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
        }
    }
}

/// Fails when: a configuration in the README does not load.
#[test]
fn its_configurations_load() {
    let text = read("README.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks.filter(|block| block.starts_with("version = 1")).collect();
    assert!(!whole.is_empty());
    for block in whole {
        config::parse(block, "README.md").unwrap_or_else(|problems| panic!("{problems}"));
    }
}
