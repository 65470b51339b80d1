//! The machine of one service.

use crate::ids::{Generation, PerSlot, Slot};

/// One request for a change, from asking to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// What a request wants changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make this slot the active one.
    Switch { to: Slot },
    /// Make the slot that served before the active one.
    Rollback { to: Slot },
    /// Put other endpoints, or another version, into a slot.
    Replace { slot: Slot, empty: bool },
}

/// A request for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `None`: to the other slot.
    Switch {
        to: Option<Slot>,
    },
    Rollback,
    Replace {
        slot: Slot,
        empty: bool,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Asked {
        op: OpId,
        ask: Ask,
        if_generation: Option<Generation>,
        force: bool,
        /// Takes the place of another request whose gate runs.
        supersede: bool,
    },
    /// The request is not wanted any more; without effect once its gate has passed.
    Cancelled(OpId),
    GatePassed(OpId),
    GateFailed(OpId),
    JournalWritten(OpId),
    JournalFailed(OpId),
    /// The config file says otherwise and has been accepted: gated, journaled, about to be published with all services.
    Revised {
        active: Slot,
        occupied: PerSlot<bool>,
        replaced: PerSlot<bool>,
    },
}

/// What is to be done about it, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Test the slot; report `GatePassed` or `GateFailed`.
    RunGate {
        op: OpId,
        change: Change,
    },
    /// Give up the test of a request that ends without its verdict.
    StopGate(OpId),
    /// Make the change durable; report `JournalWritten` or `JournalFailed`.
    WriteJournal {
        op: OpId,
        change: Change,
        generation: Generation,
        forced: bool,
    },
    /// Show the machine's state to the workers.
    Publish,
    Answer {
        op: OpId,
        answer: Answer,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Changed {
        change: Change,
        forced: bool,
    },
    /// The slot is active already.
    Unchanged,
    Refused(Refusal),
}

/// Why a request was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    GenerationDiffers,
    /// Another request is between its gate and its answer.
    Busy,
    /// The slot has no endpoints; force does not help.
    Empty(Slot),
    /// No slot served before.
    NothingToRollBackTo,
    /// The active slot cannot be emptied.
    WouldEmptyActive(Slot),
    GateFailed(Slot),
    JournalFailed,
    /// Someone called it off while its gate ran.
    Cancelled,
    /// A newer request took its place while its gate ran.
    Superseded,
    /// A config file that was accepted meanwhile changed the service.
    Revised,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Gate,
    Journal,
}

/// A request that waits for its gate or the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub op: OpId,
    pub change: Change,
    pub stage: Stage,
    force: bool,
    forced: bool,
}

/// What one service's slots are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    generation: Generation,
    active: Slot,
    /// The slot that served before, as long as nothing was put into it since.
    previous: Option<Slot>,
    occupied: PerSlot<bool>,
    pending: Option<Pending>,
}

impl Change {
    /// The slot it is about.
    pub fn slot(self) -> Slot {
        match self {
            Change::Switch { to } | Change::Rollback { to } => to,
            Change::Replace { slot, .. } => slot,
        }
    }
}

impl Machine {
    /// A service at rest. The active slot counts as occupied whatever `occupied` says of it.
    pub fn new(generation: Generation, active: Slot, previous: Option<Slot>, mut occupied: PerSlot<bool>) -> Self {
        occupied[active] = true;
        let previous = previous.filter(|slot| *slot != active && occupied[*slot]);
        Self { generation, active, previous, occupied, pending: None }
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub fn active(&self) -> Slot {
        self.active
    }

    /// The slot a rollback would go to.
    pub fn previous(&self) -> Option<Slot> {
        self.previous
    }

    pub fn is_occupied(&self, slot: Slot) -> bool {
        self.occupied[slot]
    }

    pub fn pending(&self) -> Option<Pending> {
        self.pending
    }

    /// Takes one event and names what is to be done about it.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Asked { op, ask, if_generation, force, supersede } => {
                self.asked(op, ask, if_generation, force, supersede)
            }
            Event::Cancelled(op) => match self.take_pending(op, Stage::Gate) {
                Some(pending) => overtaken(pending, Refusal::Cancelled),
                None => Vec::new(),
            },
            Event::GatePassed(op) => self.gate_ended(op, true),
            Event::GateFailed(op) => self.gate_ended(op, false),
            Event::JournalWritten(op) => self.journal_written(op),
            Event::JournalFailed(op) => match self.take_pending(op, Stage::Journal) {
                Some(_) => refuse(op, Refusal::JournalFailed),
                None => Vec::new(),
            },
            Event::Revised { active, occupied, replaced } => self.revised(active, occupied, replaced),
        }
    }

    fn asked(
        &mut self,
        op: OpId,
        ask: Ask,
        if_generation: Option<Generation>,
        force: bool,
        supersede: bool,
    ) -> Vec<Effect> {
        if if_generation.is_some_and(|wanted| wanted != self.generation) {
            return refuse(op, Refusal::GenerationDiffers);
        }
        // What is being written down may be durable already: nothing takes its place any more.
        if self.pending.is_some_and(|pending| !supersede || pending.stage == Stage::Journal) {
            return refuse(op, Refusal::Busy);
        }
        let change = match self.change_for(ask) {
            Ok(change) => change,
            // Whoever asks for the impossible takes nobody's place.
            Err(refusal) => return refuse(op, refusal),
        };
        let mut effects = self.pending.take().map_or_else(Vec::new, |older| overtaken(older, Refusal::Superseded));
        let Some(change) = change else {
            effects.push(Effect::Answer { op, answer: Answer::Unchanged });
            return effects;
        };
        let stage = if self.needs_gate(change) { Stage::Gate } else { Stage::Journal };
        self.pending = Some(Pending { op, change, stage, force, forced: false });
        effects.push(match stage {
            Stage::Gate => Effect::RunGate { op, change },
            Stage::Journal => self.journal_effect(op, change, false),
        });
        effects
    }

    /// The change that an ask comes to; `None` if it already holds.
    fn change_for(&self, ask: Ask) -> Result<Option<Change>, Refusal> {
        match ask {
            Ask::Switch { to } => {
                let to = to.unwrap_or(self.active.other());
                if to == self.active {
                    return Ok(None);
                }
                if !self.occupied[to] {
                    return Err(Refusal::Empty(to));
                }
                Ok(Some(Change::Switch { to }))
            }
            Ask::Rollback => match self.previous {
                Some(to) => Ok(Some(Change::Rollback { to })),
                None => Err(Refusal::NothingToRollBackTo),
            },
            Ask::Replace { slot, empty: true } if slot == self.active => Err(Refusal::WouldEmptyActive(slot)),
            Ask::Replace { slot, empty } => Ok(Some(Change::Replace { slot, empty })),
        }
    }

    /// Whatever would bring traffic to something unproven is gated (P3).
    fn needs_gate(&self, change: Change) -> bool {
        match change {
            Change::Switch { .. } | Change::Rollback { .. } => true,
            Change::Replace { slot, .. } => slot == self.active,
        }
    }

    fn gate_ended(&mut self, op: OpId, passed: bool) -> Vec<Effect> {
        let Some(mut pending) = self.take_pending(op, Stage::Gate) else {
            return Vec::new();
        };
        if !passed && !pending.force {
            return refuse(op, Refusal::GateFailed(pending.change.slot()));
        }
        pending.stage = Stage::Journal;
        pending.forced = !passed;
        self.pending = Some(pending);
        vec![self.journal_effect(op, pending.change, pending.forced)]
    }

    fn journal_effect(&self, op: OpId, change: Change, forced: bool) -> Effect {
        Effect::WriteJournal { op, change, generation: self.generation.next(), forced }
    }

    fn journal_written(&mut self, op: OpId) -> Vec<Effect> {
        let Some(pending) = self.take_pending(op, Stage::Journal) else {
            return Vec::new();
        };
        self.apply(pending.change);
        let answer = Answer::Changed { change: pending.change, forced: pending.forced };
        vec![Effect::Publish, Effect::Answer { op, answer }]
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Switch { to } | Change::Rollback { to } => {
                self.previous = Some(self.active);
                self.active = to;
            }
            Change::Replace { slot, empty } => {
                self.occupied[slot] = !empty;
                self.forget(slot);
            }
        }
        self.generation = self.generation.next();
    }

    /// What stands in the slot now has not served: there is nothing to roll back to.
    fn forget(&mut self, slot: Slot) {
        self.previous = self.previous.filter(|previous| *previous != slot);
    }

    fn revised(&mut self, active: Slot, mut occupied: PerSlot<bool>, replaced: PerSlot<bool>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(pending) = self.pending.take() {
            effects.extend(overtaken(pending, Refusal::Revised));
        }
        occupied[active] = true;
        self.occupied = occupied;
        for slot in Slot::BOTH {
            if replaced[slot] || !occupied[slot] {
                self.forget(slot);
            }
        }
        if active != self.active {
            self.previous = Some(self.active).filter(|slot| occupied[*slot] && !replaced[*slot]);
            self.active = active;
        }
        self.generation = self.generation.next();
        effects.push(Effect::Publish);
        effects
    }

    fn take_pending(&mut self, op: OpId, stage: Stage) -> Option<Pending> {
        self.pending.take_if(|pending| pending.op == op && pending.stage == stage)
    }
}

/// A request ends before its time.
fn overtaken(pending: Pending, why: Refusal) -> Vec<Effect> {
    let stop = (pending.stage == Stage::Gate).then_some(Effect::StopGate(pending.op));
    stop.into_iter().chain(refuse(pending.op, why)).collect()
}

fn refuse(op: OpId, refusal: Refusal) -> Vec<Effect> {
    vec![Effect::Answer { op, answer: Answer::Refused(refusal) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OP: OpId = OpId(1);
    const NEWER: OpId = OpId(2);

    fn both() -> Machine {
        Machine::new(Generation(4), Slot::Blue, None, PerSlot { blue: true, green: true })
    }

    fn ask(ask: Ask) -> Event {
        Event::Asked { op: OP, ask, if_generation: None, force: false, supersede: false }
    }

    /// The same by somebody else, who takes the place of others.
    fn newer(ask: Ask) -> Event {
        Event::Asked { op: NEWER, ask, if_generation: None, force: false, supersede: true }
    }

    fn refused(op: OpId, refusal: Refusal) -> Effect {
        Effect::Answer { op, answer: Answer::Refused(refusal) }
    }

    #[test]
    fn a_switch_is_gate_then_journal_then_publish_then_answer() {
        let mut machine = both();
        let change = Change::Switch { to: Slot::Green };
        assert_eq!(machine.step(ask(Ask::Switch { to: None })), [Effect::RunGate { op: OP, change }]);
        let journal = Effect::WriteJournal { op: OP, change, generation: Generation(5), forced: false };
        assert_eq!(machine.step(Event::GatePassed(OP)), [journal]);
        assert_eq!(machine.active(), Slot::Blue, "nothing moves before the journal is written");
        let answer = Effect::Answer { op: OP, answer: Answer::Changed { change, forced: false } };
        assert_eq!(machine.step(Event::JournalWritten(OP)), [Effect::Publish, answer]);
        assert_eq!((machine.active(), machine.previous()), (Slot::Green, Some(Slot::Blue)));
    }

    #[test]
    fn a_rollback_needs_a_slot_that_served() {
        let mut machine = both();
        let refused = Answer::Refused(Refusal::NothingToRollBackTo);
        assert_eq!(machine.step(ask(Ask::Rollback)), [Effect::Answer { op: OP, answer: refused }]);
        machine.step(ask(Ask::Switch { to: Some(Slot::Green) }));
        machine.step(Event::GatePassed(OP));
        machine.step(Event::JournalWritten(OP));
        let change = Change::Rollback { to: Slot::Blue };
        assert_eq!(machine.step(ask(Ask::Rollback)), [Effect::RunGate { op: OP, change }]);
    }

    #[test]
    fn replacing_what_served_before_takes_the_rollback_away() {
        let mut machine =
            Machine::new(Generation(1), Slot::Green, Some(Slot::Blue), PerSlot { blue: true, green: true });
        machine.step(ask(Ask::Replace { slot: Slot::Blue, empty: false }));
        machine.step(Event::JournalWritten(OP));
        assert_eq!(machine.previous(), None);
    }

    #[test]
    fn a_cancelled_request_stops_its_gate_and_makes_room() {
        let mut machine = both();
        machine.step(ask(Ask::Switch { to: None }));
        assert_eq!(machine.step(Event::Cancelled(NEWER)), [], "another's request stands");
        assert_eq!(machine.step(Event::Cancelled(OP)), [Effect::StopGate(OP), refused(OP, Refusal::Cancelled)]);
        assert_eq!(machine, both());
    }

    #[test]
    fn what_is_being_written_down_is_neither_cancelled_nor_superseded() {
        let mut machine = both();
        machine.step(ask(Ask::Switch { to: None }));
        machine.step(Event::GatePassed(OP));
        assert_eq!(machine.step(Event::Cancelled(OP)), []);
        assert_eq!(machine.step(newer(Ask::Switch { to: None })), [refused(NEWER, Refusal::Busy)]);
        machine.step(Event::JournalWritten(OP));
        assert_eq!(machine.active(), Slot::Green);
    }

    #[test]
    fn a_newer_request_takes_the_place_of_one_whose_gate_runs() {
        let mut machine = both();
        machine.step(ask(Ask::Switch { to: None }));
        let change = Change::Switch { to: Slot::Green };
        let stopped = [Effect::StopGate(OP), refused(OP, Refusal::Superseded)];
        let effects = machine.step(newer(Ask::Switch { to: None }));
        assert_eq!(effects, [&stopped[..], &[Effect::RunGate { op: NEWER, change }]].concat());
        assert_eq!(machine.step(Event::GatePassed(OP)), [], "the older one's gate counts no more");
    }

    /// Who asks to stay where traffic is calls the switch off; who asks for the impossible does not.
    #[test]
    fn to_supersede_takes_a_request_that_makes_sense() {
        let mut machine = both();
        machine.step(ask(Ask::Switch { to: None }));
        let before = machine.clone();
        assert_eq!(machine.step(newer(Ask::Rollback)), [refused(NEWER, Refusal::NothingToRollBackTo)]);
        assert_eq!(machine, before);
        let stay = Effect::Answer { op: NEWER, answer: Answer::Unchanged };
        let effects = machine.step(newer(Ask::Switch { to: Some(Slot::Blue) }));
        assert_eq!(effects, [Effect::StopGate(OP), refused(OP, Refusal::Superseded), stay]);
        assert_eq!(machine, both());
    }

    #[test]
    fn a_late_gate_of_a_superseded_request_changes_nothing() {
        let mut machine = both();
        machine.step(ask(Ask::Switch { to: None }));
        let keep = PerSlot { blue: false, green: false };
        machine.step(Event::Revised {
            active: Slot::Blue,
            occupied: PerSlot { blue: true, green: true },
            replaced: keep,
        });
        let before = machine.clone();
        assert_eq!(machine.step(Event::GatePassed(OP)), []);
        assert_eq!(machine, before);
    }
}
