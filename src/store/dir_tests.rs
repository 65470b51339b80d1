use std::fs;

use super::*;
use crate::{
    api::Action,
    ids::Slot,
    store::samples::{dir, entry, name, state, switched},
};

#[test]
fn a_directory_has_one_owner() {
    let parent = dir();
    let dir = parent.path().join("deep/state");
    let (store, recovered) = Store::open(&dir).unwrap();
    assert_eq!(recovered, Recovered::default());
    let error = Store::open(&dir).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { dir: named } if *named == dir));
    assert!(error.to_string().contains("deep/state is in use by another verdigris process: stop"), "{error}");
    drop(store);
    Store::open(&dir).unwrap();
}

#[test]
fn what_was_stored_is_recovered() {
    let dir = dir();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.append(&[switched("iris", 2), switched("gone", 3)]).unwrap();
    store.save(&state(&[("iris", 2)])).unwrap();
    drop(store);
    let (store, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!(recovered, Recovered { state: Some(state(&[("iris", 2)])), notes: vec![] });
    assert_eq!(store.history(&name("gone"), 9).unwrap(), [switched("gone", 3)]);
}

#[test]
fn a_crash_between_journal_and_save_does_not_move_traffic() {
    let dir = dir();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.save(&state(&[("iris", 1)])).unwrap();
    store.append(&[switched("iris", 2)]).unwrap();
    drop(store);
    for _ in 0..2 {
        let (_, recovered) = Store::open(dir.path()).unwrap();
        assert_eq!(recovered.state, Some(state(&[("iris", 2)])));
        assert_eq!(recovered.notes.len(), 1);
    }
}

#[test]
fn the_journal_makes_up_for_a_switch_that_was_in_the_corrupt_file_only() {
    let dir = dir();
    let (store, _) = Store::open(dir.path()).unwrap();
    for generation in 1..=4 {
        store.append(&[switched("iris", generation)]).unwrap();
        store.save(&state(&[("iris", generation)])).unwrap();
    }
    drop(store);
    fs::write(dir.path().join("state.json"), "{}").unwrap();
    let (_, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!(recovered.state, Some(state(&[("iris", 4)])));
    assert_eq!(recovered.notes.len(), 3, "{:?}", recovered.notes);
}

#[test]
fn without_a_state_the_file_decides_and_the_notes_say_what_the_journal_saw() {
    let dir = dir();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.append(&[entry("iris", Action::Added, 1), switched("iris", 2)]).unwrap();
    drop(store);
    let (_, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!(recovered.state, None);
    assert!(recovered.notes[0].contains("the journal last saw it on green (generation 2)"), "{:?}", recovered.notes);
}

#[test]
fn threads_share_a_store() {
    let dir = dir();
    let (store, _) = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for service in ["iris", "rose"] {
            let store = &store;
            scope.spawn(move || {
                for generation in 1..=20 {
                    store.append(&[switched(service, generation)]).unwrap();
                    let history = store.history(&name(service), 99).unwrap();
                    assert_eq!(history[0], switched(service, generation));
                    assert_eq!(history.len() as u64, generation);
                }
            });
        }
    });
}

#[test]
fn errors_name_the_path() {
    let parent = dir();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state")).unwrap_err().to_string();
    assert!(error.contains("file/state: ") && error.contains("correct `dir` under [state]"), "{error}");
    let dir = parent.path().join("state");
    fs::create_dir_all(dir.join("journal.jsonl")).unwrap();
    let error = Store::open(&dir).unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.contains("state/journal.jsonl: "), "{error}");
}

/// Every way a process can die on its way from generation 1 to 2: the files of each instant, cut anywhere.
#[test]
fn whatever_is_torn_the_answer_is_the_old_or_the_new_one() {
    let source = dir();
    let (store, _) = Store::open(source.path()).unwrap();
    store.append(&[switched("iris", 1)]).unwrap();
    store.save(&state(&[("iris", 1)])).unwrap();
    let journal_before = fs::read(source.path().join("journal.jsonl")).unwrap().len();
    store.append(&[switched("iris", 2)]).unwrap();
    let state_before = fs::read(source.path().join("state.json")).unwrap();
    let journal = fs::read(source.path().join("journal.jsonl")).unwrap();
    let dir = dir();
    for len in journal_before..=journal.len() {
        fs::write(dir.path().join("state.json"), &state_before).unwrap();
        fs::write(dir.path().join("journal.jsonl"), &journal[..len]).unwrap();
        let (_, recovered) = Store::open(dir.path()).unwrap();
        let record = &recovered.state.unwrap().services[&name("iris")];
        let expected = if len == journal.len() { Slot::Green } else { Slot::Blue };
        assert_eq!(record.active, expected, "journal cut at {len}");
    }
}
