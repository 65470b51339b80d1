//! What a published table holds.

use std::sync::Arc;

use http::HeaderValue;

use super::{Preview, Routes};
use crate::{
    config::settings::{MatchRule, ServiceSettings},
    ids::{Generation, PerSlot, Slot},
    telemetry::SlotMetrics,
    upstream::{Endpoint, Turnstile, lease::Tenure},
};

/// A snapshot: routes → services → slots → endpoints and policies.
#[derive(Debug, Default)]
pub struct Table {
    pub routes: Arc<Routes>,
    /// `Routes` gives an index into this.
    pub services: Vec<Arc<Service>>,
}

/// One service at one generation. Requests that hold it see slots, endpoints and policies that belong together.
#[derive(Debug)]
pub struct Service {
    pub settings: Arc<ServiceSettings>,
    pub generation: Generation,
    pub active: Slot,
    pub slots: PerSlot<Arc<SlotTable>>,
    /// Who may choose a slot; `None`: nobody.
    pub preview: Option<Arc<Preview>>,
}

/// One slot's endpoints during one tenure.
#[derive(Debug)]
pub struct SlotTable {
    pub slot: Slot,
    /// Ready to be put into `x-verdigris-version`.
    pub version: Option<HeaderValue>,
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Requests may start here: it serves, or callers may choose it. If not, the tenure is a retired one.
    pub is_open: bool,
    pub tenure: Arc<Tenure>,
    pub metrics: Arc<SlotMetrics>,
    /// Who may go in, and who waits. It belongs to what stands in the slot, so that it counts over tenures.
    pub turnstile: Arc<Turnstile>,
}

impl Table {
    /// A table of these services. Which rules are legal is `config`'s matter. The routes of `before` are taken over if
    /// they still hold, so that a switch among thousands of services builds no index.
    pub fn new(services: Vec<Arc<Service>>, before: &Table) -> Self {
        fn rules(services: &[Arc<Service>]) -> impl Iterator<Item = &MatchRule> {
            services.iter().map(|service| &service.settings.rule)
        }
        let same_rule = |(one, other): (&Arc<Service>, &Arc<Service>)| {
            Arc::ptr_eq(one, other) || one.settings.rule == other.settings.rule
        };
        let same_length = services.len() == before.services.len();
        let same_rules = same_length && services.iter().zip(&before.services).all(same_rule);
        let routes = if same_rules { before.routes.clone() } else { Arc::new(Routes::new(rules(&services))) };
        Self { routes, services }
    }
}

impl Service {
    /// The slots where requests may start.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<SlotTable>> {
        Slot::BOTH.map(|slot| &self.slots[slot]).into_iter().filter(|slot| slot.is_open)
    }
}
