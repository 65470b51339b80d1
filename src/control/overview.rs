//! What the rest of the control plane may see: a snapshot after each change, so that status never waits for the
//! controller.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use super::{
    entry::{Entry, SlotEntry},
    gates::GateFiles,
    under_way::Preparing,
};
use crate::{
    api::{
        DrainStatus, EndpointHealth, EndpointStatus, InFlight, ReloadStatus, RollbackStatus, ServiceStatus, SlotPhase,
        SlotStatus, Tested,
    },
    config::{Marks, MatchRule, ServiceSettings, SlotSettings},
    ids::{Generation, PerSlot, ServiceName, Slot},
    switch::Machine,
    table::SlotTable,
    telemetry::{GaugeSample, names},
    upstream::{Endpoint, Turnstile, lease::Tenure},
};

/// Everything, as of the last change.
#[derive(Clone, Debug, Default)]
pub(super) struct Overview {
    pub(super) services: Arc<BTreeMap<ServiceName, Shown>>,
    pub(super) reload: ReloadStatus,
    /// The files that the gates name, as they stood when they were read.
    pub(super) golden_files: Arc<Marks>,
}

/// Where one service is shown, so that a change of it costs the same among one and among thousands. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Shown(Arc<RwLock<Arc<ServiceView>>>);

impl Shown {
    pub(super) fn new(view: ServiceView) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(view))))
    }

    /// What is shown now.
    pub(super) fn view(&self) -> Arc<ServiceView> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, view: ServiceView) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

/// One service.
#[derive(Clone, Debug)]
pub(super) struct ServiceView {
    pub(super) settings: Arc<ServiceSettings>,
    pub(super) golden: Option<Arc<GateFiles>>,
    pub(super) generation: Generation,
    pub(super) active: Slot,
    /// As it stood; a dry run goes on with a copy.
    pub(super) machine: Machine,
    pub(super) preparing: Option<Preparing>,
    pub(super) slots: PerSlot<SlotView>,
}

/// One slot.
#[derive(Clone, Debug)]
pub(super) struct SlotView {
    pub(super) contents: SlotSettings,
    served: bool,
    tested: Option<Arc<Tested>>,
    cut: u64,
    /// Requests may start here, as far as this snapshot knows: it is never the first to say that they may not.
    is_open: bool,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// The slot's own and those before it that are not drained.
    pub(super) tenures: Vec<Arc<Tenure>>,
    turnstile: Arc<Turnstile>,
}

impl ServiceView {
    pub(super) fn new(entry: &Entry, preparing: Option<Preparing>) -> Self {
        let machine = entry.machine.clone();
        Self {
            settings: entry.settings.clone(),
            golden: entry.golden.clone(),
            generation: machine.generation(),
            active: machine.active(),
            machine,
            preparing,
            slots: PerSlot::from_fn(|slot| SlotView::new(&entry.slots[slot], &entry.published.slots[slot])),
        }
    }

    /// The status, but for the ages of leases, which only workers know.
    pub(super) fn status(&self, now: Instant) -> ServiceStatus {
        ServiceStatus {
            name: self.settings.name.clone(),
            generation: self.generation,
            active: self.active,
            matches: rule_in_words(&self.settings.rule),
            pending: self.preparing.as_ref().map(Preparing::in_short),
            under_way: self.preparing.as_ref().map(Preparing::view),
            rollback: self.rollback(self.machine.previous()),
            slots: PerSlot::from_fn(|slot| self.slot_status(slot, now)),
        }
    }

    fn slot_status(&self, slot: Slot, now: Instant) -> SlotStatus {
        let view = &self.slots[slot];
        SlotStatus {
            slot,
            phase: self.phase(slot),
            version: view.contents.version.clone(),
            endpoints: view.endpoints.iter().map(|endpoint| endpoint_status(endpoint, now)).collect(),
            drain: self.drain(slot),
            tested: view.tested.as_deref().cloned(),
        }
    }

    fn phase(&self, slot: Slot) -> SlotPhase {
        let view = &self.slots[slot];
        if slot == self.active {
            SlotPhase::Active
        } else if view.is_draining() {
            SlotPhase::Draining
        } else if view.endpoints.is_empty() {
            SlotPhase::Empty
        } else if view.served {
            SlotPhase::Drained
        } else {
            SlotPhase::Standby
        }
    }

    /// How the slot's drain stands, but for the age of the oldest lease.
    pub(super) fn drain(&self, slot: Slot) -> DrainStatus {
        let view = &self.slots[slot];
        let in_flight = view.in_flight();
        let pending = self.preparing.as_ref().filter(|preparing| preparing.slot == slot);
        let (safe_to_delete, why) = if slot == self.active {
            (false, "the slot is active".to_owned())
        } else if let Some(preparing) = pending {
            (false, format!("a change is under way: {}", preparing.in_short()))
        } else if view.is_drained() {
            (true, "nothing runs on the slot and nothing new can start there".to_owned())
        } else if view.is_open {
            (false, previews_in_words(in_flight))
        } else {
            (false, format!("{} still running", count_in_words(in_flight)))
        };
        let leaving = self.preparing.as_ref().is_some_and(|preparing| preparing.leaves);
        let serves_on = slot == self.active && !leaving;
        let takes_previews = self.takes_previews(slot);
        DrainStatus { in_flight, oldest_ms: None, cut: view.cut(), safe_to_delete, serves_on, takes_previews, why }
    }

    /// True while the slot stands by and callers may choose it.
    pub(super) fn takes_previews(&self, slot: Slot) -> bool {
        slot != self.active && self.slots[slot].is_open
    }

    /// The way back to a slot.
    pub(super) fn rollback(&self, to: Option<Slot>) -> RollbackStatus {
        let Some(to) = to else {
            let why = "no slot that served before still stands".to_owned();
            return RollbackStatus { to: None, instant: false, why };
        };
        let endpoints = &self.slots[to].endpoints;
        let healthy = endpoints.iter().filter(|one| one.health() == EndpointHealth::Healthy).count();
        let why = format!("{healthy} of {} endpoints of {to} healthy", endpoints.len());
        RollbackStatus { to: Some(to), instant: healthy > 0, why }
    }
}

impl SlotView {
    fn new(entry: &SlotEntry, own: &SlotTable) -> Self {
        Self {
            contents: entry.contents.clone(),
            served: entry.served,
            tested: entry.tested.clone(),
            cut: entry.cut,
            is_open: own.is_open,
            endpoints: entry.endpoints.clone(),
            tenures: entry.past.iter().chain([&own.tenure]).cloned().collect(),
            turnstile: own.turnstile.clone(),
        }
    }

    /// True while something runs that began before the slot was left or filled anew.
    pub(super) fn is_draining(&self) -> bool {
        self.tenures.iter().any(|tenure| tenure.is_retired() && !tenure.is_drained())
    }

    fn is_drained(&self) -> bool {
        !self.is_open && self.tenures.iter().all(|tenure| tenure.is_drained())
    }

    fn in_flight(&self) -> InFlight {
        let mut sum = InFlight::default();
        for held in self.tenures.iter().map(|tenure| tenure.in_flight()) {
            sum.unary += held.unary;
            sum.stream += held.stream;
            sum.tunnel += held.tunnel;
            sum.total += held.total;
        }
        sum
    }

    fn cut(&self) -> u64 {
        self.cut + self.tenures.iter().map(|tenure| tenure.cut()).sum::<u64>()
    }
}

fn endpoint_status(endpoint: &Endpoint, now: Instant) -> EndpointStatus {
    let view = endpoint.view();
    EndpointStatus {
        http: endpoint.settings.http.as_ref().map(ToString::to_string),
        grpc: endpoint.settings.grpc.as_ref().map(ToString::to_string),
        health: view.health,
        detail: if view.probed.is_some() { view.detail } else { "not probed yet".to_owned() },
        probed_ms_ago: view.probed.map(|at| now.saturating_duration_since(at).as_millis() as u64),
        ejected_for_ms: endpoint.ejected_for(now).map(|left| left.as_millis() as u64),
    }
}

/// Why a slot that callers may choose is not safe to delete, and what makes it so.
fn previews_in_words(in_flight: InFlight) -> String {
    let running = match in_flight.total {
        0 => String::new(),
        _ => format!("{} still running, and ", count_in_words(in_flight)),
    };
    format!("{running}previews may reach it; empty the slot first (PUT it with `\"endpoints\": []`)")
}

pub(super) fn count_in_words(in_flight: InFlight) -> String {
    let kinds = [(in_flight.unary, "request"), (in_flight.stream, "stream"), (in_flight.tunnel, "tunnel")];
    let words: Vec<_> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() { "0 requests".to_owned() } else { words.join(", ") }
}

/// A rule, as an operator would say it.
fn rule_in_words(rule: &MatchRule) -> String {
    let mut words = Vec::new();
    words.extend(rule.host.as_ref().map(|host| format!("host {host}")));
    words.extend(rule.path_prefix.as_ref().map(|prefix| format!("path {prefix}")));
    words.extend(rule.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
}

impl Overview {
    /// The gauges of the metrics page.
    pub(super) fn gauges(&self) -> Vec<GaugeSample> {
        let mut samples = vec![GaugeSample {
            metric: names::RELOAD_OK,
            labels: Vec::new(),
            value: f64::from(u8::from(self.reload.ok)),
        }];
        for (name, shown) in self.services.iter() {
            let service = shown.view();
            let service_label = ("service", name.to_string());
            samples.push(GaugeSample {
                metric: names::GENERATION,
                labels: vec![service_label.clone()],
                value: service.generation.0 as f64,
            });
            for (slot, view) in service.slots.iter() {
                slot_gauges(&mut samples, &service_label, slot, slot == service.active, view);
            }
        }
        samples
    }
}

fn slot_gauges(
    samples: &mut Vec<GaugeSample>,
    service: &(&'static str, String),
    slot: Slot,
    is_active: bool,
    view: &SlotView,
) {
    let labels = || vec![service.clone(), ("slot", slot.to_string())];
    let mut add = |metric, extra: Vec<(&'static str, String)>, value: f64| {
        let mut labels = labels();
        labels.extend(extra);
        samples.push(GaugeSample { metric, labels, value });
    };
    add(names::ACTIVE, vec![], f64::from(u8::from(is_active)));
    add(names::QUEUED, vec![], f64::from(view.turnstile.waiting()));
    add(names::LEASES_CUT, vec![], view.cut() as f64);
    let in_flight = view.in_flight();
    let version = view.contents.version.clone().unwrap_or_default();
    for (kind, count) in [("unary", in_flight.unary), ("stream", in_flight.stream), ("tunnel", in_flight.tunnel)] {
        add(names::IN_FLIGHT, vec![("version", version.clone()), ("kind", kind.to_owned())], count as f64);
    }
    for endpoint in &view.endpoints {
        let healthy = endpoint.health() == EndpointHealth::Healthy;
        add(names::HEALTHY, vec![("endpoint", endpoint.settings.to_string())], f64::from(u8::from(healthy)));
        let ejected = endpoint.is_ejected(Instant::now());
        add(names::EJECTED, vec![("endpoint", endpoint.settings.to_string())], f64::from(u8::from(ejected)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_well() {
        let some = InFlight { unary: 1, stream: 2, tunnel: 0, total: 3 };
        assert_eq!(count_in_words(some), "1 request, 2 streams");
        assert_eq!(count_in_words(InFlight::default()), "0 requests");
        assert!(previews_in_words(some).starts_with("1 request, 2 streams still running, and previews may"));
        assert!(previews_in_words(InFlight::default()).starts_with("previews may reach it"));
    }
}
