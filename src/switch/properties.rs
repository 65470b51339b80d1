//! Random event sequences against the machine, with the invariants checked after each step.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Answer, Ask, Change, Effect, Event, Machine, OpId, Refusal, Stage};
use crate::ids::{Generation, PerSlot, Slot};

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![Just(Slot::Blue), Just(Slot::Green)]
}

fn per_slot() -> impl Strategy<Value = PerSlot<bool>> {
    (any::<bool>(), any::<bool>()).prop_map(|(blue, green)| PerSlot { blue, green })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        proptest::option::of(slot()).prop_map(|to| Ask::Switch { to }),
        Just(Ask::Rollback),
        (slot(), any::<bool>()).prop_map(|(slot, empty)| Ask::Replace { slot, empty }),
    ]
}

/// An event; ids are few, so that reports of old and foreign requests are met often.
fn event() -> impl Strategy<Value = Event> {
    let op = (0..6_u64).prop_map(OpId);
    prop_oneof![
        4 => (op.clone(), ask(), proptest::option::of((0..8_u64).prop_map(Generation)), any::<bool>(), any::<bool>())
            .prop_map(|(op, ask, if_generation, force, supersede)| {
                Event::Asked { op, ask, if_generation, force, supersede }
            }),
        1 => op.clone().prop_map(Event::Cancelled),
        4 => op.clone().prop_map(Event::GatePassed),
        2 => op.clone().prop_map(Event::GateFailed),
        4 => op.clone().prop_map(Event::JournalWritten),
        1 => op.prop_map(Event::JournalFailed),
        1 => (slot(), per_slot(), per_slot())
            .prop_map(|(active, occupied, replaced)| Event::Revised { active, occupied, replaced }),
    ]
}

fn published(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Publish)
}

fn answers(effects: &[Effect]) -> Vec<(OpId, Answer)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer { op, answer } => Some((*op, *answer)),
            Effect::RunGate { .. } | Effect::StopGate(_) | Effect::WriteJournal { .. } | Effect::Publish => None,
        })
        .collect()
}

/// What must hold between a state, an event and what came of it.
fn check_step(before: &Machine, event: Event, after: &Machine, effects: &[Effect]) -> Result<(), TestCaseError> {
    prop_assert!(after.is_occupied(after.active()), "the active slot is never empty");
    prop_assert_ne!(after.previous(), Some(after.active()));
    if let Some(previous) = after.previous() {
        prop_assert!(after.is_occupied(previous), "a rollback has something to go to");
    }
    let grown = if published(effects) { before.generation().next() } else { before.generation() };
    prop_assert_eq!(after.generation(), grown, "the generation counts publications");
    if before.active() != after.active() {
        prop_assert!(published(effects));
        let journaled = matches!(before.pending(), Some(pending) if pending.stage == Stage::Journal);
        let by_file = matches!(event, Event::Revised { .. });
        prop_assert!(journaled || by_file, "traffic moves only after the journal holds the change");
    }
    for (_, answer) in answers(effects) {
        if matches!(answer, Answer::Refused(refusal) if refusal != Refusal::Revised) {
            prop_assert_eq!(before.active(), after.active());
            prop_assert_eq!(before.previous(), after.previous());
            prop_assert!(!published(effects), "a refusal changes nothing");
        }
    }
    check_overtaken(before, event, effects)
}

/// A request whose gate runs may be called off or overtaken, and its gate is stopped then; only the file overtakes one
/// that is being written down.
fn check_overtaken(before: &Machine, event: Event, effects: &[Effect]) -> Result<(), TestCaseError> {
    let stopped = effects.iter().find_map(|effect| if let Effect::StopGate(op) = effect { Some(*op) } else { None });
    let overtaken = answers(effects).into_iter().find(|(_, answer)| {
        use Refusal::{Cancelled, Revised, Superseded};
        matches!(answer, Answer::Refused(Cancelled | Superseded | Revised))
    });
    let in_stage = |stage| before.pending().filter(|pending| pending.stage == stage).map(|pending| pending.op);
    let by_file = matches!(event, Event::Revised { .. });
    let written = in_stage(Stage::Journal).filter(|_| by_file);
    prop_assert_eq!(stopped, overtaken.map(|(op, _)| op).filter(|op| written != Some(*op)), "its gate is stopped");
    prop_assert!(stopped.is_none() || stopped == in_stage(Stage::Gate), "a gate that runs");
    if let Event::Asked { op, supersede: false, .. } = event {
        prop_assert!(overtaken.is_none(), "{op:?} did not ask for another's place");
    }
    Ok(())
}

/// The gate's verdicts, as the machine must respect them.
#[derive(Default)]
struct Gates {
    asked_by_force: BTreeSet<OpId>,
    passed: BTreeSet<OpId>,
}

impl Gates {
    fn note(&mut self, before: &Machine, event: Event) {
        match event {
            Event::Asked { op, force, .. } => {
                self.passed.remove(&op);
                self.asked_by_force.remove(&op);
                if force {
                    self.asked_by_force.insert(op);
                }
            }
            Event::GatePassed(op)
                if before.pending().is_some_and(|open| open.op == op && open.stage == Stage::Gate) =>
            {
                self.passed.insert(op);
            }
            Event::Cancelled(_)
            | Event::GatePassed(_)
            | Event::GateFailed(_)
            | Event::JournalWritten(_)
            | Event::JournalFailed(_)
            | Event::Revised { .. } => {}
        }
    }

    fn check(&self, effects: &[Effect]) -> Result<(), TestCaseError> {
        for (op, answer) in answers(effects) {
            if let Answer::Changed { change: Change::Switch { .. } | Change::Rollback { .. }, forced } = answer {
                prop_assert_eq!(forced, !self.passed.contains(&op), "a failed gate that was overruled says so");
                prop_assert!(!forced || self.asked_by_force.contains(&op), "only force overrules a gate");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_each_step(
        active in slot(),
        occupied in per_slot(),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut machine = Machine::new(Generation(0), active, None, occupied);
        let mut gates = Gates::default();
        let mut open: BTreeSet<OpId> = BTreeSet::new();
        for event in events {
            // An id is used for one request at a time, as `control` does.
            if let Event::Asked { op, .. } = event && !open.insert(op) {
                continue;
            }
            let before = machine.clone();
            gates.note(&before, event);
            let effects = machine.step(event);
            check_step(&before, event, &machine, &effects)?;
            gates.check(&effects)?;
            for (op, _) in answers(&effects) {
                prop_assert!(open.remove(&op), "one answer for each request");
            }
            let waiting: BTreeSet<OpId> = machine.pending().iter().map(|pending| pending.op).collect();
            prop_assert_eq!(&open, &waiting, "every request is answered or pending");
        }
    }
}
