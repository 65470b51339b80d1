//! What the config file changes, in words and as journal lines.

use std::sync::Arc;

use super::{
    clock,
    controller::Controller,
    entry::Entry,
    plan::ServicePlan,
    record,
    reload::{Plan, client},
    reload_job::ReloadJob,
};
use crate::{
    api::{Action, HistoryEntry, Outcome, SlotContents},
    config::{Breather, ServiceSettings, SlotSettings},
    ids::{Generation, ServiceName, Slot},
    store::ServiceRecord,
    table::Preview,
    upstream::TlsClient,
};

impl Controller {
    /// What a plan changes: in words, and as journal lines.
    pub(super) fn describe(&self, plan: &Plan, job: &ReloadJob, actor: &str) -> (Vec<String>, Vec<HistoryEntry>) {
        let (mut words, mut lines) = (Vec::new(), Vec::new());
        for name in &plan.removed {
            words.push(format!("service {name}: removed"));
            if let Some(entry) = self.entries.get(name) {
                let line = line(name, Action::Removed, entry.machine.generation().next(), actor);
                lines.push(HistoryEntry { to: Some(entry.machine.active()), ..line });
            }
        }
        for settings in &plan.added {
            words.push(format!("service {}: added", settings.name));
            lines.push(added_line(settings, actor));
        }
        let mut breather = Breather::begin();
        for (name, service) in &plan.services {
            breather.step();
            let Some(entry) = self.entries.get(name) else { continue };
            let Some((what, action)) = change_of(entry, service, &client(&job.tls, name), job.previews.get(name))
            else {
                continue;
            };
            words.push(format!("service {name}: {what}"));
            lines.push(HistoryEntry { reason: Some(what), ..changed_line(entry, service, action, actor) });
        }
        (words, lines)
    }
}

/// What a plan changes of a service; `None` if nothing.
fn change_of(
    entry: &Entry,
    service: &ServicePlan,
    tls: &TlsClient,
    preview: Option<&Arc<Preview>>,
) -> Option<(String, Action)> {
    let mut words = Vec::new();
    let mut action = Action::Settings;
    if !is_same_but_for_slots(&entry.settings, &service.settings) {
        words.push("settings changed".to_owned());
    } else if !entry.tls.is_same(tls) {
        words.push("the files of service.tls changed".to_owned());
    } else if entry.preview.as_ref() != preview {
        words.push("the token of service.preview changed".to_owned());
    }
    for slot in Slot::BOTH {
        if service.replaced[slot] {
            action = Action::Slot;
            words.push(format!("{slot} has new contents"));
        }
    }
    if service.active != entry.machine.active() {
        action = Action::Switch;
        words.push(format!("switched to {}", service.active));
    }
    (!words.is_empty()).then(|| (words.join(", "), action))
}

/// What `active` and the slots say has a history of its own.
fn is_same_but_for_slots(old: &ServiceSettings, new: &ServiceSettings) -> bool {
    // No field is left out unseen, and nothing is copied to be left out: all of thousands of services may have changed.
    let ServiceSettings {
        name,
        rule,
        active: _,
        replay,
        replay_buffer,
        slots: _,
        health,
        gate,
        timeouts,
        pool,
        balance,
        ejection,
        retry,
        limits,
        tls,
        request,
        answer,
        drain,
        preview,
    } = old;
    (name, rule, replay, replay_buffer) == (&new.name, &new.rule, &new.replay, &new.replay_buffer)
        && (health, gate, timeouts, pool) == (&new.health, &new.gate, &new.timeouts, &new.pool)
        && (balance, ejection, retry, limits) == (&new.balance, &new.ejection, &new.retry, &new.limits)
        && (tls, request, answer) == (&new.tls, &new.request, &new.answer)
        && (drain, preview) == (&new.drain, &new.preview)
}

/// What is put into a slot, for the journal.
pub(super) fn put_in(slot: Slot, contents: &SlotSettings) -> SlotContents {
    SlotContents { slot, version: contents.version.clone(), endpoints: record::addresses(contents) }
}

/// A line about what the file did, with what is the same for all.
fn line(name: &ServiceName, action: Action, generation: Generation, actor: &str) -> HistoryEntry {
    HistoryEntry {
        at: clock::now(),
        service: name.clone(),
        action,
        outcome: Outcome::Done,
        generation,
        actor: actor.to_owned(),
        from: None,
        to: None,
        version: None,
        contents: Vec::new(),
        forced: false,
        reason: None,
        gate: None,
    }
}

fn added_line(settings: &ServiceSettings, actor: &str) -> HistoryEntry {
    let occupied = settings.slots.iter().filter(|(_, slot)| !slot.endpoints.is_empty());
    HistoryEntry {
        to: Some(settings.active),
        version: settings.slots[settings.active].version.clone(),
        contents: occupied.map(|(slot, contents)| put_in(slot, contents)).collect(),
        ..line(&settings.name, Action::Added, Generation(1), actor)
    }
}

fn changed_line(entry: &Entry, service: &ServicePlan, action: Action, actor: &str) -> HistoryEntry {
    let replaced: Vec<Slot> = Slot::BOTH.into_iter().filter(|slot| service.replaced[*slot]).collect();
    let to = about(action, service.active, &replaced);
    HistoryEntry {
        from: Some(entry.machine.active()).filter(|_| action == Action::Switch),
        to: Some(to),
        version: service.contents[to].version.clone(),
        contents: replaced.into_iter().map(|slot| put_in(slot, &service.contents[slot])).collect(),
        ..line(entry.name(), action, entry.machine.generation().next(), actor)
    }
}

/// The slot that a change is about: the one that got new contents, if it is one and nothing was switched; else the one
/// that serves.
fn about(action: Action, active: Slot, replaced: &[Slot]) -> Slot {
    match replaced {
        [one] if action == Action::Slot => *one,
        _ => active,
    }
}

/// What the file changed while the process was away, or that the service is new; `None` if it is as it was recorded.
pub(super) fn found_line(entry: &Entry, record: Option<&ServiceRecord>, actor: &str) -> Option<HistoryEntry> {
    let Some(record) = record else {
        return Some(added_line(&entry.settings, actor));
    };
    let (generation, active) = (entry.machine.generation(), entry.machine.active());
    if record.generation == generation {
        return None;
    }
    let now = record::of_entry(entry);
    let is_new = |slot: &Slot| {
        let (now, then) = (&now.slots[*slot], &record.slots[*slot]);
        now.endpoints != then.endpoints || now.version != then.version
    };
    let replaced: Vec<Slot> = Slot::BOTH.into_iter().filter(is_new).collect();
    let action = if record.active == active { Action::Slot } else { Action::Switch };
    let to = about(action, active, &replaced);
    Some(HistoryEntry {
        from: Some(record.active).filter(|_| action == Action::Switch),
        to: Some(to),
        version: entry.slots[to].contents.version.clone(),
        contents: replaced.into_iter().map(|slot| put_in(slot, &entry.slots[slot].contents)).collect(),
        ..line(entry.name(), action, generation, actor)
    })
}

/// The service was taken out of the file while the process was away.
pub(super) fn lost_line(name: &ServiceName, record: &ServiceRecord, actor: &str) -> HistoryEntry {
    HistoryEntry { to: Some(record.active), ..line(name, Action::Removed, record.generation.next(), actor) }
}
