//! Takes a config file over: at start, and when its content changes. All of it or nothing; `apply` does it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::{
    apply::is_as_before,
    clock,
    controller::{Controller, ReloadWaiter, StartError},
    describe::{found_line, lost_line},
    entry::{Entry, SlotEntry},
    gates::{GoldenSets, connect, read_golden_files, whole_gate},
    plan::{Known, KnownSlot, ServicePlan, plan},
    preview::{Previews, read_preview_tokens},
    record,
    reload_job::ReloadJob,
    tls::{TlsClients, read_tls_files},
    trials::PlannedGate,
    unhurried::unhurried,
};
use crate::{
    api::{Event, GateReport, Problem, ProblemKind, ReloadStatus},
    checks::Gate,
    config::{Breather, EndpointSettings, FileContent, Loaded, Marks, Problems, ServiceSettings, SlotSettings},
    ids::{Generation, PerSlot, ServiceName, Slot},
    net::tls::{PreparedListeners, TlsListeners},
    store::{ServiceRecord, State},
    switch::{Change, Machine},
    table::Preview,
    upstream::{Endpoint, TlsClient},
};

/// What a whole file comes to.
#[derive(Default)]
pub(super) struct Plan {
    /// Services about which anything is another than before.
    pub(super) services: BTreeMap<ServiceName, ServicePlan>,
    pub(super) added: Vec<Arc<ServiceSettings>>,
    pub(super) removed: Vec<ServiceName>,
}

impl Controller {
    /// Takes over the file and the recorded state at start. Nothing is gated: what was recorded serves on.
    pub(super) async fn found(&mut self, loaded: Loaded, recovered: Option<State>) -> Result<(), StartError> {
        let tls = read_tls_files(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        self.golden_files = Arc::new(golden_files(&loaded));
        let golden = read_golden_files(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        let previews =
            read_preview_tokens(&loaded, &self.config_path).map_err(|bad| StartError::Plan(bad.to_string()))?;
        let records = recovered.map(|state| state.services).unwrap_or_default();
        let mut lines = Vec::new();
        for settings in &loaded.settings.services {
            let record = records.get(&settings.name).map(|record| &**record);
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
        let names: Vec<ServiceName> = self.entries.keys().cloned().collect();
        self.record(&names);
        self.saver.now().await.map_err(StartError::Plan)?;
        self.reload_status = ReloadStatus { ok: true, at: clock::now(), ..ReloadStatus::default() };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.applied = Some(Arc::new(loaded));
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

    pub(super) fn new_entry(
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
            let is_known = !waiter.anew && self.refused.is_none();
            let applied = self.applied.clone();
            match unhurried(move || read(&path, &listeners, applied.as_deref(), is_known)).await {
                Ok((_, Ok(None))) => {}
                Ok((_, Ok(Some(NamedFiles { loaded, listeners, tls, golden, golden_files, previews })))) => {
                    let (op, since, loaded) = (self.new_op(), clock::now(), Arc::new(loaded));
                    let (gates, trials) = (Vec::new(), Vec::new());
                    self.reload = Some(ReloadJob {
                        op,
                        loaded,
                        waiter,
                        since,
                        gates,
                        trials,
                        listeners,
                        tls,
                        golden,
                        golden_files,
                        previews,
                    });
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
        let plan = match self.plan(&job) {
            Ok(plan) => plan,
            Err(problem) => return self.refuse_reload(job.waiter, job.loaded.hash.clone(), vec![problem]),
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
            self.refuse_reload(job.waiter, job.loaded.hash.clone(), failed);
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

    /// What of the file is to be done, given the books. Of thousands of services nearly all are as they were.
    fn plan(&self, job: &ReloadJob) -> Result<Plan, String> {
        let mut whole = Plan::default();
        let wanted = &job.loaded.settings.services;
        let mut breather = Breather::begin();
        for wanted in wanted {
            breather.step();
            let Some(entry) = self.entries.get(&wanted.name) else {
                whole.added.push(wanted.clone());
                continue;
            };
            if is_as_before(entry, wanted, job) {
                continue;
            }
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
        if wanted.len() - whole.added.len() < self.entries.len() {
            let named: HashSet<&ServiceName> = wanted.iter().map(|wanted| &wanted.name).collect();
            whole.removed = self.entries.keys().filter(|name| !named.contains(name)).cloned().collect();
        }
        Ok(whole)
    }

    /// Answers, and tells everybody else. What the watch finds again and again is told once; who asks gets an answer
    /// each time. `content` is the hash of what was refused, or why there is none.
    pub(super) fn refuse_reload(&mut self, waiter: ReloadWaiter, content: String, problems: Vec<String>) {
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
    golden_files: Marks,
    previews: Previews,
}

/// How the files stand that the gates name.
fn golden_files(loaded: &Loaded) -> Marks {
    Marks::of(loaded.settings.services.iter().flat_map(|service| service.gate.files()))
}

/// Reads the file, and the files that it names: what tells its content from another, and what it means; `None` if it is
/// what was applied last and that is enough to know (`is_known`).
fn read(
    path: &Path,
    listeners: &TlsListeners,
    applied: Option<&Loaded>,
    is_known: bool,
) -> (String, Result<Option<NamedFiles>, Problems>) {
    let content = match FileContent::of(path) {
        Ok(content) => content,
        Err(problems) => return (problems.lines().join("; "), Err(problems)),
    };
    let meaning = || {
        if is_known && applied.is_some_and(|applied| applied.hash == content.hash) {
            return Ok(None);
        }
        let mut loaded = content.parse_after(applied)?;
        let listeners = listeners.load(path, &loaded)?;
        let tls = read_tls_files(&loaded, path)?;
        let golden_files = golden_files(&loaded);
        let golden = read_golden_files(&loaded, path)?;
        let previews = read_preview_tokens(&loaded, path)?;
        loaded.warnings.extend(listeners.warnings());
        Ok(Some(NamedFiles { loaded, listeners, tls, golden, golden_files, previews }))
    };
    (content.hash.clone(), meaning())
}

/// What a plan would make serve: endpoints that are known as they are, new ones as they would be.
fn endpoints(entry: &Entry, service: &ServicePlan, contents: &SlotSettings, tls: &TlsClient) -> Vec<Arc<Endpoint>> {
    let known: &[_] = if entry.tls.is_same(tls) { &entry.slots[service.active].endpoints } else { &[] };
    kept_or_new(known, &contents.endpoints, tls)
}

/// In the order in which they are wanted.
fn kept_or_new(known: &[Arc<Endpoint>], wanted: &[EndpointSettings], tls: &TlsClient) -> Vec<Arc<Endpoint>> {
    let known: HashMap<_, _> = known.iter().map(|endpoint| (&endpoint.settings, endpoint)).collect();
    let new = |wanted| Arc::new(Endpoint::with_tls(wanted, tls));
    wanted.iter().map(|wanted| known.get(wanted).map_or_else(|| new(wanted), |old| Arc::clone(old))).collect()
}

/// How the service's endpoints are known; every service of the file has an entry.
pub(super) fn client(clients: &TlsClients, name: &ServiceName) -> Arc<TlsClient> {
    clients.get(name).cloned().unwrap_or_else(TlsClient::plain)
}

#[cfg(test)]
#[path = "reload_tests.rs"]
pub(super) mod tests;
