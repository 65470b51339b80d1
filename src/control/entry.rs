//! The controller's books on one service.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::HeaderValue;
use tokio::sync::mpsc;

use super::{clock, gates::GateFiles, message::Message, trial::Gallery, trials::BackgroundTest};
use crate::{
    api::{GateReport, Tested},
    config::{EndpointSettings, ServiceSettings, SlotSettings},
    ids::{EndpointId, PerSlot, ServiceName, Slot},
    switch::Machine,
    table::{Preview, Service, SlotTable},
    telemetry::Registry,
    upstream::{
        Endpoint, TlsClient, Turnstile,
        health::{EndpointNews, Prober, Rounds},
        lease::Tenure,
    },
};

/// What building an entry needs.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) workers: usize,
    pub(super) registry: Registry,
    pub(super) gallery: Gallery,
    pub(super) health: mpsc::Sender<EndpointNews>,
    pub(super) inbox: mpsc::Sender<Message>,
}

/// One service.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) settings: Arc<ServiceSettings>,
    /// The `active` that the file had when it was last applied.
    pub(super) file_active: Slot,
    pub(super) machine: Machine,
    pub(super) slots: PerSlot<SlotEntry>,
    /// How its endpoints with TLS are known.
    pub(super) tls: Arc<TlsClient>,
    /// What the files hold that the gate names.
    pub(super) golden: Option<Arc<GateFiles>>,
    /// Who may choose a slot.
    pub(super) preview: Option<Arc<Preview>>,
    /// What the table holds of it.
    pub(super) published: Arc<Service>,
}

/// One slot of a service.
#[derive(Debug)]
pub(super) struct SlotEntry {
    /// What stands there.
    pub(super) contents: SlotSettings,
    /// What the file said stands there, when it was last applied.
    pub(super) file: SlotSettings,
    /// What stands there has been active.
    pub(super) served: bool,
    /// The gate that was run last on what stands there.
    pub(super) tested: Option<Arc<Tested>>,
    /// A test of what stands there that nobody waits for.
    pub(super) test: Option<BackgroundTest>,
    /// Leases cut since the slot last became active, of tenures that are no longer in `past`.
    pub(super) cut: u64,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Tenures that are retired and not drained.
    pub(super) past: Vec<Arc<Tenure>>,
    probers: Vec<Prober>,
    /// What the endpoints were made with.
    tls: Option<Arc<TlsClient>>,
    turnstile: Arc<Turnstile>,
}

impl SlotEntry {
    pub(super) fn new(contents: SlotSettings, file: SlotSettings, served: bool) -> Self {
        Self {
            contents,
            file,
            served,
            tested: None,
            test: None,
            cut: 0,
            endpoints: Vec::new(),
            past: Vec::new(),
            probers: Vec::new(),
            tls: None,
            turnstile: Turnstile::new(None),
        }
    }

    /// Puts something else there, which has not served and was not tested.
    pub(super) fn put(&mut self, contents: SlotSettings) {
        self.contents = contents;
        self.served = false;
        self.tested = None;
        if let Some(test) = self.test.take() {
            test.outdated();
        }
    }

    /// What stands there was tested.
    pub(super) fn note_test(&mut self, gate: GateReport) {
        self.tested = Some(Arc::new(Tested { at: clock::now(), gate }));
    }

    pub(super) fn is_occupied(&self) -> bool {
        !self.contents.endpoints.is_empty()
    }

    /// Makes `endpoints` and their probers what `contents` and the settings say. Endpoints whose address stays keep
    /// their health and pools.
    fn equip(
        &mut self,
        name: &ServiceName,
        slot: Slot,
        new: &ServiceSettings,
        old: Option<&ServiceSettings>,
        tls: &Arc<TlsClient>,
        around: &Surroundings,
    ) {
        let old_tls = self.tls.replace(tls.clone());
        let same_tls = old_tls.is_none_or(|old| Arc::ptr_eq(&old, tls));
        let same_limits = same_tls && old.is_none_or(|old| old.pool == new.pool && old.timeouts == new.timeouts);
        let same_health = old.is_some_and(|old| old.health == new.health);
        let before = std::mem::take(&mut self.endpoints);
        if same_limits && same_health && before.iter().map(|endpoint| &endpoint.settings).eq(&self.contents.endpoints) {
            self.endpoints = before;
            return;
        }
        let known: HashMap<_, _> = before.iter().map(|endpoint| (&endpoint.settings, endpoint)).collect();
        let adopt = |wanted| adopt(wanted, known.get(wanted).copied(), same_limits, tls);
        self.endpoints = self.contents.endpoints.iter().map(adopt).collect();
        let kept: HashSet<EndpointId> = self.endpoints.iter().map(|endpoint| endpoint.id).collect();
        before.iter().filter(|old| !kept.contains(&old.id)).for_each(|gone| gone.withdraw());
        let start = |endpoint: &Arc<Endpoint>| {
            let rounds = Rounds { health: new.health.clone(), resolve_interval: new.pool.resolve_interval };
            Prober::start(name.clone(), slot, endpoint.clone(), rounds, around.health.clone())
        };
        self.probers = self.endpoints.iter().map(start).collect();
    }
}

/// The endpoint object for an address: the one there was, or a new one.
fn adopt(
    wanted: &EndpointSettings,
    before: Option<&Arc<Endpoint>>,
    same_limits: bool,
    tls: &Arc<TlsClient>,
) -> Arc<Endpoint> {
    match before {
        Some(old) if same_limits => old.clone(),
        Some(old) => Arc::new(old.successor(tls)),
        None => Arc::new(Endpoint::with_tls(wanted, tls)),
    }
}

impl Entry {
    /// Books for a service; `refresh` must follow.
    pub(super) fn new(
        settings: Arc<ServiceSettings>,
        file_active: Slot,
        machine: Machine,
        slots: PerSlot<SlotEntry>,
        tls: Arc<TlsClient>,
        preview: Option<Arc<Preview>>,
        around: &Surroundings,
    ) -> Self {
        let standby = |slot| {
            Arc::new(SlotTable {
                slot,
                version: None,
                endpoints: Vec::new(),
                is_open: false,
                tenure: Arc::new(Tenure::standby(slot)),
                metrics: around.registry.slot(&settings.name, slot, slots[slot].contents.version.as_deref()),
                turnstile: slots[slot].turnstile.clone(),
            })
        };
        let published = Arc::new(Service {
            settings: settings.clone(),
            generation: machine.generation(),
            active: machine.active(),
            slots: PerSlot::from_fn(standby),
            preview: preview.clone(),
        });
        let mut entry = Self { settings, file_active, machine, slots, tls, golden: None, preview, published };
        entry.refresh(None, around);
        entry
    }

    pub(super) fn name(&self) -> &ServiceName {
        &self.settings.name
    }

    /// Rebuilds what the table is to hold, after machine, contents or settings changed. Tenures that the new table does
    /// not have open any more go to `past`; the publisher retires them.
    pub(super) fn refresh(&mut self, old_settings: Option<&ServiceSettings>, around: &Surroundings) {
        let (settings, before) = (self.settings.clone(), self.published.clone());
        let slots = PerSlot::from_fn(|slot| {
            let old_settings = old_settings.or(Some(&settings)).filter(|_| !self.slots[slot].endpoints.is_empty());
            self.slots[slot].turnstile.resize(settings.limits.concurrency);
            self.slots[slot].equip(&settings.name, slot, &settings, old_settings, &self.tls, around);
            self.slot_table(slot, &before, around)
        });
        let (generation, active) = (self.machine.generation(), self.machine.active());
        let preview = self.preview.clone();
        self.published = Arc::new(Service { settings, generation, active, slots, preview });
    }

    /// The slot as the table is to have it: as before, or with a tenure of its own.
    ///
    /// A slot that stands by is open only to previews of what has never served. What has served takes nothing new once
    /// it is left (P4). A tenure that previews hold goes on when the slot becomes active: the endpoints are the same.
    fn slot_table(&mut self, slot: Slot, before: &Service, around: &Surroundings) -> Arc<SlotTable> {
        let old = &before.slots[slot];
        let is_active = slot == self.machine.active();
        let served_before = old.is_open && before.active == slot;
        let may_preview = self.preview.is_some();
        let entry = &mut self.slots[slot];
        if is_active {
            entry.served = true;
            if !served_before {
                entry.cut = 0;
            }
        }
        let is_open = is_active || (may_preview && entry.is_occupied() && !entry.served);
        let is_left = served_before && !is_active;
        let metrics = around.registry.slot(&self.settings.name, slot, entry.contents.version.as_deref());
        let same_endpoints = old.endpoints.iter().map(|one| one.id).eq(entry.endpoints.iter().map(|one| one.id));
        if same_endpoints && old.is_open == is_open && !is_left && Arc::ptr_eq(&old.metrics, &metrics) {
            return old.clone();
        }
        if old.is_open {
            entry.past.push(old.tenure.clone());
            self.watch(slot, &old.tenure, around);
        }
        let entry = &self.slots[slot];
        let tenure = if is_open { Tenure::new(slot, around.workers) } else { Tenure::standby(slot) };
        Arc::new(SlotTable {
            slot,
            version: version_value(entry.contents.version.as_deref()),
            endpoints: entry.endpoints.clone(),
            is_open,
            tenure: Arc::new(tenure),
            metrics,
            turnstile: entry.turnstile.clone(),
        })
    }

    /// Reports when the tenure has drained, and cuts it if the service's settings say so.
    fn watch(&self, slot: Slot, tenure: &Arc<Tenure>, around: &Surroundings) {
        let (service, tenure, inbox) = (self.name().clone(), tenure.clone(), around.inbox.clone());
        let cut_after = self.settings.drain.cut_after;
        tokio::spawn(async move {
            if let Some(limit) = cut_after
                && tokio::time::timeout(limit, tenure.drained()).await.is_err()
            {
                let actor = format!("drain.cut_after {}", humantime::format_duration(limit));
                let cut = Message::Cut { service: service.clone(), slot, tenures: vec![tenure.clone()], actor };
                if inbox.send(cut).await.is_err() {
                    return;
                }
            }
            tenure.drained().await;
            // A controller that has ended needs no report.
            let _ = inbox.send(Message::Drained { service, slot, tenure }).await;
        });
    }
}

fn version_value(version: Option<&str>) -> Option<HeaderValue> {
    version.and_then(|text| HeaderValue::from_str(text).ok())
}
