use proptest::prelude::*;

use super::*;
use crate::store::samples::{entry, name, state, switched};

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
    assert_eq!(record(&replayed, "iris"), &state(&[("iris", 4)]).services[&name("iris")]);
    assert_eq!(record(&replayed, "rose"), &state(&[("rose", 1)]).services[&name("rose")]);
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
        expected.services.get_mut(&name("iris")).unwrap().generation = Generation(3);
        assert_eq!(replayed.state, expected);
        assert_eq!(replayed.notes[0].contains("had not been saved"), action == Action::Slot, "{:?}", replayed.notes);
    }
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
    assert_eq!(record(&replayed, "iris"), &state(&[("iris", 3)]).services[&name("iris")]);
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
    (service, action, 0..9u64, any::<bool>(), slot(), slot()).prop_map(
        |(service, action, generation, done, from, to)| {
            let outcome = if done { Outcome::Done } else { Outcome::Refused };
            HistoryEntry { outcome, from, to, ..entry(service, action, generation) }
        },
    )
}

proptest! {
    #[test]
    fn replaying_never_goes_back_and_twice_is_once(entries in prop::collection::vec(any_entry(), 0..20), at in 0..9u64) {
        let saved = state(&[("iris", at), ("rose", 1)]);
        let once = replay(saved.clone(), &entries);
        for (service, record) in &once.state.services {
            prop_assert!(record.generation >= saved.services[service].generation);
        }
        let twice = replay(once.state.clone(), &entries);
        prop_assert_eq!(&twice.state, &once.state);
        prop_assert!(twice.notes.is_empty());
    }
}
