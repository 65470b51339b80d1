//! Does what a config file says, once nothing stands against it: journal, publish, show, save, answer.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    clock,
    controller::Controller,
    entry::Entry,
    gates::GateFiles,
    plan::ServicePlan,
    record,
    reload::{Plan, client},
    reload_job::ReloadJob,
};
use crate::{
    api::{Event, HistoryEntry, ReloadReply, ReloadStatus},
    config::{self, Breather},
    ids::{Generation, PerSlot, ServiceName, Slot},
    switch::{self, Effect},
};

impl Controller {
    /// All of it or nothing: if the journal cannot be written, nothing changes.
    pub(super) async fn apply(&mut self, plan: Plan, job: ReloadJob) {
        let (mut changes, lines) = self.describe(&plan, &job, &self.file_actor());
        changes.extend(self.new_golden(&plan, &job));
        if let Err(error) = self.journal(lines.clone()).await {
            let problem = format!("the journal could not be written: {error}");
            return self.refuse_reload(job.waiter, job.loaded.hash.clone(), vec![problem]);
        }
        let touched = self.take_over(plan, &job, &lines).await;
        let needs_restart = config::needs_restart(&self.settings, &job.loaded.settings);
        self.take_over_process(&job).await;
        self.refused = None;
        self.applied = Some(job.loaded.clone());
        self.golden_files = Arc::new(job.golden_files.clone());
        self.reload_status =
            ReloadStatus { ok: true, at: clock::now(), problems: Vec::new(), needs_restart: needs_restart.clone() };
        self.publish();
        self.show_some(&touched);
        self.record(&touched);
        // Only the state file knows what the config file said last.
        self.save_or_complain().await;
        self.around.registry.reload(if changes.is_empty() { "unchanged" } else { "applied" });
        self.tell_reload(&job, &changes, &needs_restart);
        lines.into_iter().for_each(|line| self.announce(Event::Change(line)));
        self.announce(Event::Reload { at: clock::now(), ok: true, problems: Vec::new() });
        if let Some(reply) = job.waiter.reply {
            drop(reply.send(Ok(ReloadReply { changes, needs_restart })));
        }
    }

    /// Brings the books to what the plan says. Returns the services that are to be shown and recorded anew.
    async fn take_over(&mut self, plan: Plan, job: &ReloadJob, lines: &[HistoryEntry]) -> BTreeSet<ServiceName> {
        let changed: BTreeSet<&ServiceName> = lines.iter().map(|line| &line.service).collect();
        let tried = job.trials.iter().map(|trial| trial.service.clone());
        let mut touched: BTreeSet<ServiceName> = tried.chain(plan.services.keys().cloned()).collect();
        let mut breather = Breather::begin();
        for name in &plan.removed {
            self.remove(name).await;
            breather.step();
        }
        for (name, service) in plan.services {
            self.revise(&name, service, job, changed.contains(&name)).await;
            breather.step();
        }
        for settings in plan.added {
            let (tls, preview) = (client(&job.tls, &settings.name), job.previews.get(&settings.name));
            let mut entry = self.new_entry(&settings, Generation(1), tls, preview);
            entry.golden = job.golden.get(&settings.name).cloned();
            touched.insert(settings.name.clone());
            self.entries.insert(settings.name.clone(), entry);
            breather.step();
        }
        if !plan.removed.is_empty() {
            self.around.registry.retain_services(|name| self.entries.contains_key(name));
        }
        touched.extend(plan.removed);
        touched
    }

    /// What the file says beside its services.
    async fn take_over_process(&mut self, job: &ReloadJob) {
        let wanted = &job.loaded.settings;
        let clients = wanted.proxy.client_rules();
        if self.settings.proxy.client_rules() != clients {
            self.workers.clients(clients).await;
        }
        self.tls.put(job.listeners.clone());
        // What needs a restart keeps its running value, so that the next reload says so again.
        let running = std::mem::replace(&mut self.settings, wanted.clone());
        self.settings = config::Settings {
            proxy: running.proxy.with_live(&wanted.proxy),
            admin: running.admin.with_live(&wanted.admin),
            services: wanted.services.clone(),
            ..running
        };
    }

    /// Services whose gates are to ask other golden requests. No line for the journal: each gate's report has what it asked.
    fn new_golden(&self, plan: &Plan, job: &ReloadJob) -> Vec<String> {
        let changed = |name: &&ServiceName| {
            let old = self.entries.get(*name).and_then(|entry| entry.golden.as_ref());
            old.zip(job.golden.get(*name)).is_some_and(|(old, new)| !old.is_same(new))
        };
        plan.services.keys().filter(changed).map(|name| format!("service {name}: other golden requests")).collect()
    }

    fn tell_reload(&self, job: &ReloadJob, changes: &[String], needs_restart: &[String]) {
        let actor = &job.waiter.actor;
        let words = if changes.is_empty() { "nothing to change".to_owned() } else { changes.join("; ") };
        tracing::info!(%actor, changes = changes.len(), "The config file was applied: {words}.");
        for words in needs_restart {
            tracing::warn!("Takes effect only after a restart: {words}");
        }
        for warning in &job.loaded.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Whoever waits for a change of it is told; requests that hold it go on to their end.
    async fn remove(&mut self, name: &ServiceName) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let gone = switch::Event::Revised {
            active: entry.machine.active(),
            occupied: PerSlot::default(),
            replaced: PerSlot::default(),
        };
        let effects = entry.machine.step(gone);
        self.carry_out(name, without_publishing(effects)).await;
        let Some(entry) = self.entries.remove(name) else { return };
        for (_, slot) in entry.slots.iter() {
            slot.endpoints.iter().for_each(|endpoint| endpoint.withdraw());
        }
    }

    /// Brings the books on one service to what the file says; `is_changed` if that is more than how it says it.
    async fn revise(&mut self, name: &ServiceName, service: ServicePlan, job: &ReloadJob, is_changed: bool) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.golden = job.golden.get(name).cloned();
        entry.preview = job.previews.get(name).cloned();
        let tls = client(&job.tls, name);
        if !entry.tls.is_same(&tls) {
            entry.tls = tls;
        }
        let old_settings = std::mem::replace(&mut entry.settings, service.settings.clone());
        entry.file_active = service.settings.active;
        let active = service.active;
        let tested = service.replaced[active].then(|| job.tested(name, &service.contents[active]).cloned()).flatten();
        for slot in Slot::BOTH {
            let books = &mut entry.slots[slot];
            books.file.clone_from(&service.settings.slots[slot]);
            if service.replaced[slot] {
                books.put(service.contents[slot].clone());
            }
        }
        if let Some(report) = tested {
            entry.slots[active].note_test(report);
        }
        if !is_changed {
            return;
        }
        let occupied = PerSlot::from_fn(|slot| entry.slots[slot].is_occupied());
        let effects = entry.machine.step(switch::Event::Revised { active, occupied, replaced: service.replaced });
        entry.refresh(Some(&old_settings), &self.around);
        let answers = without_publishing(effects);
        if !answers.is_empty() {
            self.carry_out(name, answers).await;
        }
    }

    /// Notes what is to be found again after a restart.
    pub(super) fn record<'n>(&mut self, services: impl IntoIterator<Item = &'n ServiceName>) {
        let mut breather = Breather::begin();
        for name in services {
            self.saver.note(name, self.entries.get(name).map(record::of_entry));
            breather.step();
        }
        debug_assert!(
            self.saver
                .state()
                .services
                .iter()
                .map(|(name, record)| (name, (**record).clone()))
                .eq(self.entries.iter().map(|(name, entry)| (name, record::of_entry(entry))))
        );
    }
}

/// A reload publishes once, with all services; what remains are answers to who was overtaken.
fn without_publishing(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Publish)).collect()
}

/// True if a reading of the files leaves everything about a service as it is.
pub(super) fn is_as_before(entry: &Entry, wanted: &Arc<config::ServiceSettings>, job: &ReloadJob) -> bool {
    let name = &wanted.name;
    let same_golden = match (&entry.golden, job.golden.get(name)) {
        (None, None) => true,
        (Some(old), Some(new)) => GateFiles::is_same(old, new),
        _ => false,
    };
    let same_settings = Arc::ptr_eq(&entry.settings, wanted) || entry.settings == *wanted;
    same_settings
        && same_golden
        && entry.tls.is_same(&client(&job.tls, name))
        && entry.preview.as_ref() == job.previews.get(name)
}
