//! Takes a config file over: at start, and when its content changes. All of it or nothing.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::{
    clock,
    controller::{Controller, ReloadWaiter, StartError},
    describe::{change_of, found_line, lost_line},
    entry::{Entry, SlotEntry},
    gates::{GoldenSets, connect, read_golden_files, whole_gate},
    plan::{Known, KnownSlot, ServicePlan, plan},
    preview::{Previews, read_preview_tokens},
    record,
    refusal::Circumstances,
    reload_job::ReloadJob,
    tls::{TlsClients, read_tls_files},
    trials::PlannedGate,
};
use crate::{
    api::{Event, GateReport, Problem, ProblemKind, ReloadReply, ReloadStatus},
    checks::Gate,
    config::{self, FileContent, Loaded, Problems, ServiceSettings, SlotSettings},
    ids::{Generation, PerSlot, ServiceName, Slot},
    net::tls::{PreparedListeners, TlsListeners},
    store::{ServiceRecord, State},
    switch::{self, Change, Machine},
    table::Preview,
    upstream::{Endpoint, TlsClient},
};

/// What a whole file comes to.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) services: BTreeMap<ServiceName, ServicePlan>,
    pub(super) removed: Vec<ServiceName>,
}

impl Controller {
    /// Takes over the file and the recorded state at start. Nothing is gated: what was recorded serves on.
    pub(super) async fn found(&mut self, loaded: Loaded, recovered: Option<State>) -> Result<(), StartError> {
        let tls = read_tls_files(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        let golden = read_golden_files(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        let previews =
            read_preview_tokens(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        let records = recovered.map(|state| state.services).unwrap_or_default();
        let mut lines = Vec::new();
        for settings in &loaded.settings.services {
            let record = records.get(&settings.name);
            let mut entry =
                self.found_entry(settings, record, client(&tls, &settings.name), previews.get(&settings.name))?;
            entry.golden = golden.get(&settings.name).cloned();
            lines.extend(found_line(&entry, record, &self.file_actor()));
            self.entries.insert(settings.name.clone(), entry);
        }
        let lost = records.iter().filter(|(name, _)| !self.entries.contains_key(*name));
        lines.extend(lost.map(|(name, record)| lost_line(name, record, &self.file_actor())));
        if !lines.is_empty() {
            self.journal(lines).await.map_err(StartError::Plan)?;
        }
        self.save().await.map_err(StartError::Plan)?;
        self.applied = Some(loaded.hash.clone());
        self.reload_status = ReloadStatus { ok: true, at: clock::now(), ..ReloadStatus::default() };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.publish();
        self.show();
        Ok(())
    }

    fn found_entry(
        &self,
        settings: &Arc<ServiceSettings>,
        record: Option<&ServiceRecord>,
        tls: Arc<TlsClient>,
        preview: Option<&Arc<Preview>>,
    ) -> Result<Entry, StartError> {
        let slots = record.and_then(|record| {
            let (blue, green) = (record::to_contents(&record.slots.blue), record::to_contents(&record.slots.green));
            Some((record, PerSlot { blue: blue?, green: green? }))
        });
        let Some((record, slots)) = slots else {
            return Ok(self.new_entry(settings, Generation(1), tls, preview));
        };
        let known = Known {
            active: record.active,
            file_active: record.file_active,
            slots: PerSlot::from_fn(|slot| KnownSlot { contents: &slots[slot].0, file: &slots[slot].1 }),
        };
        let plan = plan(settings, &known).map_err(|error| StartError::Plan(error.to_string()))?;
        let same = plan.active == record.active && plan.replaced == PerSlot::default();
        let generation = if same { record.generation } else { record.generation.next() };
        let previous = if plan.active == record.active { record.previous } else { Some(record.active) };
        let previous = previous.filter(|slot| !plan.replaced[*slot]);
        let occupied = PerSlot::from_fn(|slot| !plan.contents[slot].endpoints.is_empty());
        let machine = Machine::new(generation, plan.active, previous, occupied);
        let slots = PerSlot::from_fn(|slot| {
            let served = record.slots[slot].served && !plan.replaced[slot];
            SlotEntry::new(plan.contents[slot].clone(), settings.slots[slot].clone(), served)
        });
        Ok(Entry::new(settings.clone(), settings.active, machine, slots, tls, preview.cloned(), &self.around))
    }

    fn new_entry(
        &self,
        settings: &Arc<ServiceSettings>,
        generation: Generation,
        tls: Arc<TlsClient>,
        preview: Option<&Arc<Preview>>,
    ) -> Entry {
        let occupied = PerSlot::from_fn(|slot| !settings.slots[slot].endpoints.is_empty());
        let machine = Machine::new(generation, settings.active, None, occupied);
        let slots =
            PerSlot::from_fn(|slot| SlotEntry::new(settings.slots[slot].clone(), settings.slots[slot].clone(), false));
        Entry::new(settings.clone(), settings.active, machine, slots, tls, preview.cloned(), &self.around)
    }

    pub(super) fn file_actor(&self) -> String {
        let name = self.config_path.file_name().unwrap_or(self.config_path.as_os_str());
        format!("file {}", name.to_string_lossy())
    }

    pub(super) async fn reload_asked(&mut self, waiter: ReloadWaiter) {
        self.reloads_waiting.push_back(waiter);
        self.give_up_outdated().await;
        self.next_reload().await;
    }

    /// One reload at a time; each reads the file anew, so that the last one sees the last content.
    pub(super) async fn next_reload(&mut self) {
        while self.reload.is_none()
            && let Some(waiter) = self.reloads_waiting.pop_front()
        {
            let (path, listeners) = (self.config_path.clone(), self.tls.clone());
            // The watch has seen this file change, and may have been overtaken by somebody who asked.
            let known = self.applied.clone().filter(|_| !waiter.anew && self.refused.is_none());
            match tokio::task::spawn_blocking(move || read(&path, &listeners, known.as_deref())).await {
                Ok((_, Ok(None))) => {}
                Ok((_, Ok(Some(NamedFiles { loaded, listeners, tls, golden, previews })))) => {
                    let (op, since) = (self.new_op(), clock::now());
                    let (gates, trials) = (Vec::new(), Vec::new());
                    self.reload =
                        Some(ReloadJob { op, loaded, waiter, since, gates, trials, listeners, tls, golden, previews });
                    self.advance_reload().await;
                }
                Ok((content, Err(problems))) => {
                    // The same config file may be refused for what another file has become.
                    let lines = problems.lines();
                    self.refuse_reload(waiter, format!("{content} {}", lines.join("; ")), lines);
                }
                Err(ended) => self.refuse_reload(waiter, ended.to_string(), vec![ended.to_string()]),
            }
        }
    }

    /// Plans, asks for gates that have not run yet, and applies when none is missing. Planning is done anew after the
    /// gates, because switches go on meanwhile.
    pub(super) async fn advance_reload(&mut self) {
        let Some(mut job) = self.reload.take() else { return };
        let plan = match self.plan(&job.loaded) {
            Ok(plan) => plan,
            Err(problem) => return self.refuse_reload(job.waiter, job.loaded.hash, vec![problem]),
        };
        let mut missing = Vec::new();
        let mut failed = Vec::new();
        for (name, service) in &plan.services {
            let Some(entry) = self.entries.get(name) else { continue };
            let active = entry.machine.active();
            if !service.needs_gate(active, &entry.slots[active].endpoints) {
                continue;
            }
            let contents = &service.contents[service.active];
            match job.tested(name, contents) {
                Some(report) if report.passed => {}
                Some(report) => failed.push(self.gate_problem(name, service.active, report)),
                None => {
                    let endpoints = endpoints(entry, service, contents, &client(&job.tls, name));
                    let serving = &entry.slots[active].endpoints;
                    let whole = whole_gate(&service.settings, job.golden.get(name), endpoints, serving);
                    let moves = (service.active != active).then_some(Change::Switch { to: service.active });
                    let connect = moves.and_then(|change| connect(&self.workers, name, change));
                    let gate = Gate { connect, ..whole };
                    let (service, slot, contents) = (name.clone(), service.active, contents.clone());
                    missing.push(PlannedGate { service, slot, contents, gate });
                }
            }
        }
        if !failed.is_empty() {
            self.refuse_reload(job.waiter, job.loaded.hash, failed);
        } else if missing.is_empty() {
            self.apply(plan, job).await;
        } else {
            job.trials.retain(|trial| missing.iter().all(|one| one.service != trial.service));
            job.trials.extend(self.start_reload_gates(job.op, missing, &job.waiter.actor));
            self.reload = Some(job);
            self.show();
        }
    }

    fn gate_problem(&self, name: &ServiceName, slot: Slot, report: &GateReport) -> String {
        format!(
            "{}: service {name}: slot {slot} {}; the file is not applied, correct it or mend the slot and reload",
            self.config_path.display(),
            super::refusal::verdict(report)
        )
    }

    fn plan(&self, loaded: &Loaded) -> Result<Plan, String> {
        let mut whole = Plan::default();
        for wanted in &loaded.settings.services {
            if let Some(entry) = self.entries.get(&wanted.name) {
                let known = Known {
                    active: entry.machine.active(),
                    file_active: entry.file_active,
                    slots: PerSlot::from_fn(|slot| KnownSlot {
                        contents: &entry.slots[slot].contents,
                        file: &entry.slots[slot].file,
                    }),
                };
                let plan = plan(wanted, &known).map_err(|error| format!("{}: {error}", self.config_path.display()))?;
                whole.services.insert(wanted.name.clone(), plan);
            }
        }
        let named: HashSet<&ServiceName> = loaded.settings.services.iter().map(|wanted| &wanted.name).collect();
        whole.removed = self.entries.keys().filter(|name| !named.contains(name)).cloned().collect();
        Ok(whole)
    }

    async fn apply(&mut self, plan: Plan, job: ReloadJob) {
        let actor = self.file_actor();
        let (mut changes, lines) = self.describe(&plan, &job, &actor);
        changes.extend(self.new_golden(&job));
        if let Err(error) = self.journal(lines.clone()).await {
            let problem = format!("the journal could not be written: {error}");
            return self.refuse_reload(job.waiter, job.loaded.hash, vec![problem]);
        }
        for name in &plan.removed {
            self.remove(name);
        }
        for (name, service) in plan.services {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.golden = job.golden.get(&name).cloned();
            }
            let slot = service.active;
            let tested = service.replaced[slot].then(|| job.tested(&name, &service.contents[slot]).cloned()).flatten();
            self.revise(&name, service, client(&job.tls, &name), job.previews.get(&name)).await;
            if let Some((entry, report)) = self.entries.get_mut(&name).zip(tested) {
                entry.slots[slot].note_test(report);
            }
        }
        for settings in &job.loaded.settings.services {
            if !self.entries.contains_key(&settings.name) {
                let mut entry = self.new_entry(
                    settings,
                    Generation(1),
                    client(&job.tls, &settings.name),
                    job.previews.get(&settings.name),
                );
                entry.golden = job.golden.get(&settings.name).cloned();
                self.entries.insert(settings.name.clone(), entry);
            }
        }
        let needs_restart = config::needs_restart(&self.settings, &job.loaded.settings);
        let clients = job.loaded.settings.proxy.client_rules();
        if self.settings.proxy.client_rules() != clients {
            self.workers.clients(clients).await;
        }
        self.tls.put(job.listeners.clone());
        // What needs a restart keeps its running value, so that the next reload says so again.
        let running = std::mem::replace(&mut self.settings, job.loaded.settings.clone());
        self.settings = config::Settings {
            proxy: running.proxy.with_live(&job.loaded.settings.proxy),
            admin: running.admin.with_live(&job.loaded.settings.admin),
            services: self.settings.services.clone(),
            ..running
        };
        self.refused = None;
        self.applied = Some(job.loaded.hash.clone());
        self.reload_status =
            ReloadStatus { ok: true, at: clock::now(), problems: Vec::new(), needs_restart: needs_restart.clone() };
        self.save_or_complain().await;
        self.publish();
        self.show();
        self.around.registry.retain_services(|name| self.entries.contains_key(name));
        self.around.registry.reload(if changes.is_empty() { "unchanged" } else { "applied" });
        self.tell_reload(&job, &changes, &needs_restart);
        lines.into_iter().for_each(|line| self.announce(Event::Change(line)));
        self.announce(Event::Reload { at: clock::now(), ok: true, problems: Vec::new() });
        if let Some(reply) = job.waiter.reply {
            drop(reply.send(Ok(ReloadReply { changes, needs_restart })));
        }
    }

    /// Services whose gates are to ask other golden requests. No line for the journal: each gate's report has what it asked.
    fn new_golden(&self, job: &ReloadJob) -> Vec<String> {
        let changed = |entry: &&Entry| match (&entry.golden, job.golden.get(entry.name())) {
            (Some(old), Some(new)) => !old.is_same(new),
            _ => false,
        };
        self.entries
            .values()
            .filter(changed)
            .map(|entry| format!("service {}: other golden requests", entry.name()))
            .collect()
    }

    fn tell_reload(&self, job: &ReloadJob, changes: &[String], needs_restart: &[String]) {
        let actor = &job.waiter.actor;
        tracing::info!(%actor, changes = changes.len(), "The config file was applied: {}.", if changes.is_empty() { "nothing to change".to_owned() } else { changes.join("; ") });
        for words in needs_restart {
            tracing::warn!("{words}");
        }
        for warning in &job.loaded.warnings {
            tracing::warn!("{warning}");
        }
    }

    fn remove(&mut self, name: &ServiceName) {
        let Some(mut entry) = self.entries.remove(name) else { return };
        // Whoever waits for a change of it is told; requests that hold it go on to their end.
        let gone = switch::Event::Revised {
            active: entry.machine.active(),
            occupied: PerSlot::default(),
            replaced: PerSlot::default(),
        };
        let generation = entry.machine.generation();
        for effect in entry.machine.step(gone) {
            if let switch::Effect::Answer { op, answer: switch::Answer::Refused(refusal) } = effect
                && let Some(open) = self.open.remove(&op)
                && let Some(reply) = open.reply
            {
                let circumstances = Circumstances { generation, ..Circumstances::default() };
                drop(reply.send(Err(super::refusal::problem(name, refusal, circumstances))));
            }
        }
        for (_, slot) in entry.slots.iter() {
            slot.endpoints.iter().for_each(|endpoint| endpoint.withdraw());
        }
    }

    async fn revise(
        &mut self,
        name: &ServiceName,
        service: ServicePlan,
        tls: Arc<TlsClient>,
        preview: Option<&Arc<Preview>>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let changed = change_of(entry, &service, &tls, preview).is_some();
        entry.preview = preview.cloned();
        if !entry.tls.is_same(&tls) {
            entry.tls = tls;
        }
        let old_settings = std::mem::replace(&mut entry.settings, service.settings.clone());
        entry.file_active = service.settings.active;
        for slot in Slot::BOTH {
            let books = &mut entry.slots[slot];
            books.file.clone_from(&service.settings.slots[slot]);
            if service.replaced[slot] {
                books.put(service.contents[slot].clone());
            }
        }
        if !changed {
            return;
        }
        let occupied = PerSlot::from_fn(|slot| entry.slots[slot].is_occupied());
        let event = switch::Event::Revised { active: service.active, occupied, replaced: service.replaced };
        let effects = entry.machine.step(event);
        entry.refresh(Some(&old_settings), &self.around);
        // Published once, with all services; what remains are answers to who was overtaken.
        let answers = effects.into_iter().filter(|effect| !matches!(effect, switch::Effect::Publish)).collect();
        self.carry_out(name, answers).await;
    }

    /// Answers, and tells everybody else. What the watch finds again and again is told once; who asks gets an answer
    /// each time. `content` is the hash of what was refused, or why there is none.
    fn refuse_reload(&mut self, waiter: ReloadWaiter, content: String, problems: Vec<String>) {
        self.reload_status =
            ReloadStatus { ok: false, at: clock::now(), problems: problems.clone(), needs_restart: Vec::new() };
        self.show();
        let known = self.refused.as_ref() == Some(&content);
        self.refused = Some(content);
        if known && waiter.reply.is_none() {
            return;
        }
        self.around.registry.reload("refused");
        for problem in &problems {
            tracing::error!("The config file is refused, the old settings serve on: {problem}");
        }
        self.announce(Event::Reload { at: clock::now(), ok: false, problems: problems.clone() });
        if let Some(reply) = waiter.reply {
            let message = format!("{} is refused: {}", self.config_path.display(), problems.join("; "));
            let mut problem =
                Problem::new(ProblemKind::Invalid, message).hint("nothing changed; correct the file and reload");
            problem.problems = problems;
            drop(reply.send(Err(problem)));
        }
    }
}

/// A config file, and what stands in the files that it names.
struct NamedFiles {
    loaded: Loaded,
    listeners: PreparedListeners,
    tls: TlsClients,
    golden: GoldenSets,
    previews: Previews,
}

/// Reads the file, and the files that it names: what tells its content from another, and what it means; `None` if its
/// content is `known`.
fn read(path: &Path, listeners: &TlsListeners, known: Option<&str>) -> (String, Result<Option<NamedFiles>, Problems>) {
    let content = match FileContent::of(path) {
        Ok(content) => content,
        Err(problems) => return (problems.lines().join("; "), Err(problems)),
    };
    let meaning = || {
        if known == Some(&content.hash) {
            return Ok(None);
        }
        let mut loaded = content.parse()?;
        let listeners = listeners.load(path, &loaded)?;
        let tls = read_tls_files(&loaded, path)?;
        let golden = read_golden_files(&loaded, path)?;
        let previews = read_preview_tokens(&loaded, path)?;
        loaded.warnings.extend(listeners.warnings());
        Ok(Some(NamedFiles { loaded, listeners, tls, golden, previews }))
    };
    (content.hash.clone(), meaning())
}

/// What a plan would make serve: endpoints that are known as they are, new ones as they would be.
fn endpoints(entry: &Entry, service: &ServicePlan, contents: &SlotSettings, tls: &TlsClient) -> Vec<Arc<Endpoint>> {
    let known = &entry.slots[service.active].endpoints;
    let endpoints = contents.endpoints.iter().map(|wanted| {
        let old = known.iter().find(|endpoint| endpoint.settings == *wanted && entry.tls.is_same(tls));
        old.cloned().unwrap_or_else(|| Arc::new(Endpoint::with_tls(wanted, tls)))
    });
    endpoints.collect()
}

/// How the service's endpoints are known; every service of the file has an entry.
pub(super) fn client(clients: &TlsClients, name: &ServiceName) -> Arc<TlsClient> {
    clients.get(name).cloned().unwrap_or_else(TlsClient::plain)
}

#[cfg(test)]
#[path = "reload_tests.rs"]
pub(super) mod tests;
