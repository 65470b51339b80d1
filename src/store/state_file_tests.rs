use proptest::prelude::*;

use super::*;
use crate::{api::EndpointAddresses, store::samples};

/// A directory whose state was saved at generation 1, then 2.
fn saved_twice(dir: &Path) -> StateFile {
    let file = StateFile::new(dir);
    file.save(&samples::state(&[("iris", 1)])).unwrap();
    file.save(&samples::state(&[("iris", 2), ("rose", 1)])).unwrap();
    file
}

fn load(file: &StateFile) -> (Option<State>, Vec<String>) {
    let mut notes = Vec::new();
    let state = file.load(&mut notes).unwrap();
    (state, notes)
}

#[test]
fn what_was_saved_last_is_loaded_and_what_was_before_is_kept() {
    let dir = samples::dir();
    assert_eq!(load(&StateFile::new(dir.path())), (None, vec![]));
    let file = saved_twice(dir.path());
    assert_eq!(load(&file), (Some(samples::state(&[("iris", 2), ("rose", 1)])), vec![]));
    fs::remove_file(&file.current).unwrap();
    let (state, notes) = load(&file);
    assert_eq!(state, Some(samples::state(&[("iris", 1)])));
    assert!(notes[0].contains("state.json.old is used"), "{notes:?}");
}

/// Writes `bytes` as the state file of a directory that was saved twice, and loads.
fn damaged(file: &StateFile, bytes: &[u8]) -> (Option<State>, Vec<String>) {
    fs::write(&file.current, bytes).unwrap();
    load(file)
}

#[test]
fn a_file_cut_at_any_byte_gives_the_state_or_the_one_before() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    let whole = fs::read(&file.current).unwrap();
    let newest = samples::state(&[("iris", 2), ("rose", 1)]);
    for len in 0..whole.len() {
        let (state, notes) = damaged(&file, &whole[..len]);
        if len + 1 == whole.len() {
            assert_eq!((state.as_ref(), notes.len()), (Some(&newest), 0), "only the newline is missing");
        } else {
            assert_eq!((state, notes.len()), (Some(samples::state(&[("iris", 1)])), 2), "cut at {len}: {notes:?}");
            assert_eq!(fs::read(dir.path().join("state.json.corrupt")).unwrap(), &whole[..len]);
        }
    }
}

#[test]
fn a_file_with_any_byte_flipped_gives_the_state_or_the_one_before() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    let whole = fs::read(&file.current).unwrap();
    let newest = samples::state(&[("iris", 2), ("rose", 1)]);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let (state, notes) = damaged(&file, &bytes);
        let expected = if notes.is_empty() { &newest } else { &samples::state(&[("iris", 1)]) };
        assert_eq!(state.as_ref(), Some(expected), "byte {at}");
        assert!(!notes.is_empty() || at + 1 == whole.len(), "byte {at} was changed unnoticed");
    }
}

#[test]
fn two_broken_files_are_set_aside_and_the_loss_is_said_aloud() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    fs::write(&file.old, "x").unwrap();
    let (state, notes) = damaged(&file, b"");
    assert_eq!(state, None);
    assert!(notes[2].contains("THE STATE IS LOST"), "{notes:?}");
    assert_eq!(load(&file), (None, vec![]), "what was set aside is not met again");
    assert_eq!(fs::read(dir.path().join("state.json.old.corrupt")).unwrap(), b"x");
}

#[test]
fn the_only_good_file_is_not_given_up_for_a_new_one() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    let (before, _) = damaged(&file, b"");
    fs::create_dir(&file.fresh).unwrap();
    assert!(file.save(&samples::state(&[("iris", 3)])).unwrap_err().to_string().contains("state.json.tmp"));
    assert_eq!(load(&file).0, before);
    fs::remove_dir(&file.fresh).unwrap();
    file.save(&samples::state(&[("iris", 3)])).unwrap();
    assert_eq!(load(&file), (Some(samples::state(&[("iris", 3)])), vec![]));
    fs::remove_file(&file.current).unwrap();
    assert_eq!(load(&file).0, before);
}

#[test]
fn a_save_that_stopped_between_any_two_steps_leaves_a_whole_state() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    let (older, newer) = (samples::state(&[("iris", 1)]), samples::state(&[("iris", 2), ("rose", 1)]));
    fs::write(&file.fresh, "half of a n").unwrap();
    assert_eq!(load(&file).0.as_ref(), Some(&newer));
    fs::remove_file(&file.old).unwrap();
    assert_eq!(load(&file).0.as_ref(), Some(&newer));
    file.keep_previous().unwrap();
    assert_eq!(load(&file).0.as_ref(), Some(&newer));
    fs::remove_file(&file.current).unwrap();
    assert_eq!(load(&file).0.as_ref(), Some(&newer), "as where there are no hard links");
    file.save(&older).unwrap();
    assert_eq!(load(&file).0.as_ref(), Some(&older));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    let newer = seal("state", r#"{"version":2,"services":[]}"#);
    fs::write(&file.current, &newer).unwrap();
    let error = file.load(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("state.json was written by a newer verdigris (state format 2"), "{error}");
    assert_eq!(fs::read_to_string(&file.current).unwrap(), newer);
    let (state, notes) = damaged(&file, seal("state", r#"{"version":0}"#).as_bytes());
    assert_eq!(state, Some(samples::state(&[("iris", 1)])));
    assert!(notes[0].contains("there is no state format 0"), "{notes:?}");
}

#[test]
fn something_that_is_not_a_file_is_set_aside() {
    let dir = samples::dir();
    let file = saved_twice(dir.path());
    fs::remove_file(&file.current).unwrap();
    fs::create_dir(&file.current).unwrap();
    assert_eq!(load(&file).0, Some(samples::state(&[("iris", 1)])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_text_comes_back_as_it_was(http in any::<String>(), grpc in any::<Option<String>>(), version in any::<String>()) {
        let dir = samples::dir();
        let mut state = samples::state(&[("iris", 7)]);
        let slot = &mut std::sync::Arc::make_mut(state.services.get_mut(&samples::name("iris")).unwrap()).slots.green;
        slot.endpoints = vec![EndpointAddresses { http: Some(http), grpc }];
        slot.version = Some(version);
        StateFile::new(dir.path()).save(&state).unwrap();
        prop_assert_eq!(load(&StateFile::new(dir.path())), (Some(state), vec![]));
    }
}
