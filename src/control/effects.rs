//! Carries out what the switch machine names.

use super::{
    clock,
    controller::{Controller, Open},
    describe::put_in,
    refusal::{self, Circumstances},
    saver,
    under_way::in_words,
};
use crate::{
    api::{Action, ChangeOutcome, ChangeReply, Event, HistoryEntry, Outcome, Problem},
    ids::{Generation, ServiceName},
    switch::{self, Answer, Change, Effect, OpId, Refusal},
};

impl Controller {
    /// Carries effects out in their order; what they lead to at once is carried out too.
    pub(super) async fn carry_out(&mut self, service: &ServiceName, effects: Vec<Effect>) {
        let mut waiting = std::collections::VecDeque::from(effects);
        while let Some(effect) = waiting.pop_front() {
            match effect {
                Effect::RunGate { op, change } => self.start_gate(service, op, change),
                Effect::StopGate(op) => self.stop_gate(op),
                Effect::WriteJournal { op, change, generation, forced } => {
                    // A disk may be slow: whoever looks meanwhile sees that it is past its gate, and nobody is to be told
                    // that the slot is safe to delete while it is being opened.
                    self.show_one(service);
                    let event = self.write_journal(service, op, change, generation, forced).await;
                    if let Some(entry) = self.entries.get_mut(service) {
                        waiting.extend(entry.machine.step(event));
                    }
                }
                Effect::Publish => self.publish_change(service, &waiting),
                Effect::Answer { op, answer } => self.answer(service, op, answer).await,
            }
        }
        self.show_one(service);
    }

    async fn write_journal(
        &mut self,
        service: &ServiceName,
        op: OpId,
        change: Change,
        generation: Generation,
        forced: bool,
    ) -> switch::Event {
        let Some((entry, open)) = self.entries.get(service).zip(self.open.get(&op)) else {
            return switch::Event::JournalFailed(op);
        };
        let replaced = open.contents.as_ref().filter(|_| matches!(change, Change::Replace { .. }));
        let contents = replaced.unwrap_or(&entry.slots[change.slot()].contents);
        let line = HistoryEntry {
            outcome: Outcome::Done,
            generation,
            from: (!matches!(change, Change::Replace { .. })).then_some(entry.machine.active()),
            version: contents.version.clone(),
            contents: replaced.map(|new| put_in(change.slot(), new)).into_iter().collect(),
            forced,
            reason: open.reason.clone(),
            gate: open.gate.clone(),
            ..self.line(service, open, action(change), change)
        };
        match self.journal(vec![line.clone()]).await {
            Ok(()) => {
                self.announce(Event::Change(line));
                switch::Event::JournalWritten(op)
            }
            Err(error) => {
                tracing::error!(%service, %error, "The journal could not be written; nothing was changed.");
                switch::Event::JournalFailed(op)
            }
        }
    }

    /// A history line with what is the same for all.
    fn line(&self, service: &ServiceName, open: &Open, action: Action, change: Change) -> HistoryEntry {
        HistoryEntry {
            at: clock::now(),
            service: service.clone(),
            action,
            outcome: Outcome::Refused,
            generation: self.entries.get(service).map(|entry| entry.machine.generation()).unwrap_or_default(),
            actor: open.actor.clone(),
            from: None,
            to: Some(change.slot()),
            version: None,
            contents: Vec::new(),
            forced: false,
            reason: None,
            gate: None,
        }
    }

    /// Publishes, and has the state saved soon. What was switched or put into a slot is in the journal already, where a
    /// restart finds it until the state is saved.
    fn publish_change(&mut self, service: &ServiceName, rest: &std::collections::VecDeque<Effect>) {
        let changed = rest.iter().find_map(|effect| match effect {
            Effect::Answer { op, answer: Answer::Changed { change, .. } } => Some((*op, *change)),
            Effect::Answer { .. }
            | Effect::RunGate { .. }
            | Effect::StopGate(_)
            | Effect::WriteJournal { .. }
            | Effect::Publish => None,
        });
        let Some(entry) = self.entries.get_mut(service) else { return };
        if let Some((op, Change::Replace { slot, .. })) = changed
            && let Some(open) = self.open.get_mut(&op)
            && let Some(contents) = open.contents.take()
        {
            let books = &mut entry.slots[slot];
            books.put(contents);
            if let Some(gate) = &open.gate {
                books.note_test(gate.clone());
            }
        }
        entry.refresh(None, &self.around);
        self.publish();
        self.show_one(service);
        self.record([service]);
        self.saver.soon();
    }

    pub(super) async fn save_or_complain(&mut self) {
        if let Err(error) = self.saver.now().await {
            saver::complain(&error);
        }
    }

    async fn answer(&mut self, service: &ServiceName, op: OpId, answer: Answer) {
        let Some(mut open) = self.open.remove(&op) else { return };
        let Some(entry) = self.entries.get(service) else { return };
        let (generation, active) = (entry.machine.generation(), entry.machine.active());
        let reply = |outcome, forced, message| ChangeReply {
            service: service.clone(),
            outcome,
            generation,
            active,
            previous: open.previous,
            forced,
            gate: open.gate.clone(),
            drain: None,
            message,
        };
        let result = match answer {
            Answer::Unchanged => Ok(reply(
                ChangeOutcome::Unchanged,
                false,
                format!("{service}: {active} is active already, generation {generation}"),
            )),
            Answer::Changed { change: Change::Replace { slot, .. }, forced } => Ok(reply(
                ChangeOutcome::Replaced,
                forced,
                format!("{service}: {slot} has new contents, generation {generation}"),
            )),
            Answer::Changed { change: Change::Switch { .. } | Change::Rollback { .. }, forced } => Ok(reply(
                ChangeOutcome::Switched,
                forced,
                format!("{service}: switched to {active}, generation {generation}"),
            )),
            Answer::Refused(refusal) => {
                let gate = open.gate.clone();
                let (change, ended_by) = (open.change, open.ended_by.clone());
                let under_way = self.preparing(service).filter(|_| refusal == Refusal::Busy);
                Err(refusal::problem(service, refusal, Circumstances { generation, gate, change, ended_by, under_way }))
            }
        };
        self.count(service, answer, &open);
        if let (Answer::Refused(refusal), Err(problem)) = (answer, &result) {
            self.note_refusal(service, refusal, &open, problem).await;
        }
        if let Ok(reply) = &result {
            tracing::info!(%service, %generation, %active, forced = reply.forced, actor = open.actor, "{}.", reply.message);
        }
        self.show_one(service);
        // The caller may have gone; the change holds all the same.
        let _ = open.reply.take().map(|reply| reply.send(result));
    }

    /// Says that the change is under way, if it has not been answered already.
    pub(super) fn answer_early(&mut self, service: &ServiceName, op: OpId) {
        let Some((entry, open)) = self.entries.get(service).zip(self.open.get_mut(&op)) else { return };
        let (generation, active) = (entry.machine.generation(), entry.machine.active());
        let what = open.change.map_or_else(|| asked_for(open.action).to_owned(), in_words);
        let reply = ChangeReply {
            service: service.clone(),
            outcome: ChangeOutcome::UnderWay,
            generation,
            active,
            previous: open.previous,
            forced: false,
            gate: None,
            drain: None,
            message: format!("{service}: {what} is under way: its gate runs, status and events tell how it goes on"),
        };
        let _ = open.reply.take().map(|waiting| waiting.send(Ok(reply)));
    }

    fn count(&self, service: &ServiceName, answer: Answer, open: &Open) {
        let (action, outcome) = match answer {
            Answer::Changed { change, .. } => (action(change), "done"),
            Answer::Unchanged => (Action::Switch, "unchanged"),
            Answer::Refused(_) => (open.action, "refused"),
        };
        self.around.registry.change(service, verb(action), outcome);
    }

    /// A gate that failed, or did not come to its end, is part of the service's history: who asked, and what was seen.
    async fn note_refusal(&self, service: &ServiceName, refusal: Refusal, open: &Open, problem: &Problem) {
        tracing::warn!(%service, actor = open.actor, "A change was refused: {}.", problem.message);
        // Others were refused before their gate ran.
        let Some(change) = open.change else { return };
        let line = HistoryEntry {
            reason: Some(problem.message.clone()),
            gate: open.gate.clone(),
            ..self.line(service, open, open.action, change)
        };
        if refusal != Refusal::JournalFailed
            && let Err(error) = self.journal(vec![line.clone()]).await
        {
            tracing::error!(%service, %error, "A refusal could not be written to the journal.");
        }
        self.announce(Event::Change(line));
    }
}

fn action(change: Change) -> Action {
    match change {
        Change::Switch { .. } => Action::Switch,
        Change::Rollback { .. } => Action::Rollback,
        Change::Replace { .. } => Action::Slot,
    }
}

/// What was asked for, in one word.
fn verb(action: Action) -> &'static str {
    match action {
        Action::Rollback => "rollback",
        Action::Slot => "slot",
        _ => "switch",
    }
}

/// The same, for a person.
pub(super) fn asked_for(action: Action) -> &'static str {
    if action == Action::Slot { "slot change" } else { verb(action) }
}
