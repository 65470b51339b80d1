use proptest::prelude::*;

use super::*;
use crate::{
    api::EndpointAddresses,
    store::samples::{entry, name, state, switched},
};

fn record<'a>(replayed: &'a Replayed, service: &str) -> &'a ServiceRecord {
    &replayed.state.services[&name(service)]
}

#[test]
fn a_state_that_is_up_to_date_stays_as_it_is() {
    let saved = state(&[("iris", 3), ("rose", 1)]);
    let entries = [switched("iris", 2), switched("iris", 3), switched("gone", 9)];
    assert_eq!(replay(saved.clone(), &entries), Replayed { state: saved, notes: vec![] });
}

#[test]
fn the_slot_that_was_active_still_is() {
    let entries = [switched("iris", 2), switched("iris", 3), switched("iris", 4)];
    let replayed = replay(state(&[("iris", 1), ("rose", 1)]), &entries);
    assert_eq!(record(&replayed, "iris"), &*state(&[("iris", 4)]).services[&name("iris")]);
    assert_eq!(record(&replayed, "rose"), &*state(&[("rose", 1)]).services[&name("rose")]);
    assert_eq!(
        replayed.notes,
        ["iris: the journal is ahead of the state: green is active since generation 4 at 2026-11-01T00:00:04.000Z"]
    );
}

#[test]
fn a_rollback_counts_and_a_refusal_does_not() {
    let refused = HistoryEntry { outcome: Outcome::Refused, ..switched("iris", 4) };
    let rollback = HistoryEntry { action: Action::Rollback, ..switched("iris", 3) };
    let replayed = replay(state(&[("iris", 2)]), &[rollback, refused]);
    assert_eq!(record(&replayed, "iris").active, Slot::Blue);
    assert_eq!(record(&replayed, "iris").previous, Some(Slot::Green));
    assert_eq!(record(&replayed, "iris").generation, Generation(3));
}

#[test]
fn for_other_changes_only_the_generation_follows() {
    for action in [Action::Slot, Action::Settings, Action::Cut] {
        let change = HistoryEntry { to: Some(Slot::Blue), ..entry("iris", action, 3) };
        let replayed = replay(state(&[("iris", 2)]), &[change]);
        let mut expected = state(&[("iris", 2)]);
        Arc::make_mut(expected.services.get_mut(&name("iris")).unwrap()).generation = Generation(3);
        assert_eq!(replayed.state, expected);
        assert_eq!(replayed.notes[0].contains("had not been saved"), action == Action::Slot, "{:?}", replayed.notes);
    }
}

fn put_in(slot: Slot, url: &str) -> SlotContents {
    let endpoints = vec![EndpointAddresses { http: Some(url.to_owned()), grpc: None }];
    SlotContents { slot, version: Some("v3".to_owned()), endpoints }
}

#[test]
fn what_was_put_into_a_slot_stands_there() {
    let deployed = HistoryEntry {
        to: Some(Slot::Blue),
        contents: vec![put_in(Slot::Blue, "http://new:1")],
        ..entry("iris", Action::Slot, 3)
    };
    let replayed = replay(state(&[("iris", 2)]), std::slice::from_ref(&deployed));
    let slot = &record(&replayed, "iris").slots.blue;
    assert_eq!((&slot.endpoints, &slot.version), (&deployed.contents[0].endpoints, &deployed.contents[0].version));
    assert_eq!(slot.file, state(&[("iris", 2)]).services[&name("iris")].slots.blue.file);
    assert!(slot.by_api && !slot.served);
    assert_eq!(record(&replayed, "iris").previous, None, "what served before is no longer there");
    assert!(!replayed.notes[0].contains("had not been saved"), "{:?}", replayed.notes);

    let switched = HistoryEntry {
        from: Some(Slot::Green),
        to: Some(Slot::Blue),
        contents: vec![put_in(Slot::Green, "http://new:2")],
        ..entry("iris", Action::Switch, 4)
    };
    let replayed = replay(state(&[("iris", 2)]), &[deployed, switched]);
    let iris = record(&replayed, "iris");
    assert_eq!((iris.active, iris.previous), (Slot::Blue, None));
    assert!(iris.slots.blue.served && !iris.slots.green.served);
}

/// The state of a service that the file added was never saved.
#[test]
fn a_service_that_was_added_is_there() {
    let added = HistoryEntry {
        to: Some(Slot::Blue),
        contents: vec![put_in(Slot::Blue, "http://a:1"), put_in(Slot::Green, "http://a:2")],
        ..entry("iris", Action::Added, 1)
    };
    let replayed = replay(State::default(), &[added.clone(), switched("iris", 2)]);
    let iris = record(&replayed, "iris");
    assert_eq!((iris.active, iris.previous, iris.file_active), (Slot::Green, Some(Slot::Blue), Slot::Blue));
    assert_eq!(iris.slots.green.file.endpoints, added.contents[1].endpoints);
    assert!(!iris.slots.green.by_api && iris.slots.green.served);
    let gone = replay(State::default(), &[added, entry("iris", Action::Removed, 2), switched("iris", 3)]);
    assert_eq!(gone, Replayed { state: State::default(), notes: vec![] });
}

#[test]
fn a_former_life_of_a_service_does_not_count() {
    let entries = [
        switched("iris", 50),
        entry("iris", Action::Removed, 51),
        entry("iris", Action::Added, 1),
        switched("iris", 2),
        switched("iris", 3),
    ];
    let replayed = replay(state(&[("iris", 2)]), &entries);
    assert_eq!(record(&replayed, "iris"), &*state(&[("iris", 3)]).services[&name("iris")]);
}

#[test]
fn a_service_that_was_removed_is_gone() {
    let replayed = replay(state(&[("iris", 2)]), &[entry("iris", Action::Removed, 3), switched("iris", 4)]);
    assert_eq!(replayed.state, State::default());
    assert!(replayed.notes[0].contains("it was removed since generation 3"), "{:?}", replayed.notes);
}

#[test]
fn last_words_are_those_of_the_present_life() {
    let mut words = LastWords::default();
    for entry in [switched("iris", 2), switched("rose", 2), entry("rose", Action::Removed, 3), switched("iris", 3)] {
        words.feed(&entry);
    }
    let notes: Vec<String> = words.notes().collect();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("iris: ") && notes[0].ends_with("on blue (generation 3)"), "{notes:?}");
}

fn any_entry() -> impl Strategy<Value = HistoryEntry> {
    use Action::{Added, Cut, Removed, Rollback, Settings, Slot as Replaced, Switch};
    let action = prop::sample::select(vec![Switch, Rollback, Replaced, Added, Removed, Settings, Cut]);
    let slot = || prop::sample::select(vec![None, Some(Slot::Blue), Some(Slot::Green)]);
    let service = prop::sample::select(vec!["iris", "rose", "gone"]);
    (service, action, 0..9u64, any::<bool>(), slot(), slot(), slot()).prop_map(
        |(service, action, generation, done, from, to, new)| {
            let outcome = if done { Outcome::Done } else { Outcome::Refused };
            let contents = new.map(|slot| put_in(slot, &format!("http://new:{generation}"))).into_iter().collect();
            HistoryEntry { outcome, from, to, contents, ..entry(service, action, generation) }
        },
    )
}

proptest! {
    #[test]
    fn replaying_never_goes_back_and_twice_is_once(entries in prop::collection::vec(any_entry(), 0..20), at in 0..9u64) {
        let saved = state(&[("iris", at), ("rose", 1)]);
        let once = replay(saved.clone(), &entries);
        for (service, record) in &once.state.services {
            prop_assert!(saved.services.get(service).is_none_or(|saved| record.generation >= saved.generation));
        }
        let twice = replay(once.state.clone(), &entries);
        prop_assert_eq!(&twice.state, &once.state);
        prop_assert!(twice.notes.is_empty());
    }
}
