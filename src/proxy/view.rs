//! A worker's own view of the table: its pools and its pointers, so that a request touches no reference count that
//! other workers share. Built service by service on first use, so that a reload of thousands costs a request nothing.

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tower::retry::budget::TpsBudget;

use crate::{
    config::settings::ServiceSettings,
    ids::{EndpointId, PerSlot, ServiceName, Slot},
    table::{Reader, Service, SlotTable, Table},
    upstream::{Endpoint, LocalEndpoint, PoolLimits, lease::LocalTenure},
};

/// How long a request counts towards the budget.
const BUDGET_TTL: Duration = Duration::from_secs(10);
/// Retries that each worker may make whatever the budget says: with little traffic a percentage is nothing.
const RETRIES_PER_SECOND_MIN: u32 = 5;

/// One table, as one worker sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) table: Arc<Table>,
    services: Vec<OnceCell<Rc<LocalService>>>,
}

/// One service at one generation.
#[derive(Debug)]
pub(super) struct LocalService {
    pub(super) service: Arc<Service>,
    slots: PerSlot<OnceCell<Rc<LocalSlot>>>,
    budget: OnceCell<Rc<TpsBudget>>,
}

/// One slot during one tenure.
#[derive(Debug)]
pub(super) struct LocalSlot {
    pub(super) table: Arc<SlotTable>,
    pub(super) tenure: LocalTenure,
    pub(super) endpoints: Vec<Rc<LocalEndpoint>>,
}

/// The view of the newest table, and the pools that live through tables.
#[derive(Debug)]
pub(super) struct Views {
    state: RefCell<State>,
    pools: RefCell<HashMap<EndpointId, Rc<LocalEndpoint>>>,
    /// Retry budgets that live through tables, each with the percentage it was made for.
    budgets: RefCell<HashMap<ServiceName, (u32, Rc<TpsBudget>)>>,
}

#[derive(Debug)]
struct State {
    reader: Reader,
    view: Rc<View>,
}

impl Views {
    pub(super) fn new(mut reader: Reader) -> Self {
        let view = View::new(reader.load());
        Self { state: RefCell::new(State { reader, view }), pools: RefCell::default(), budgets: RefCell::default() }
    }

    /// The newest table's view.
    pub(super) fn current(&self) -> Rc<View> {
        let state = &mut *self.state.borrow_mut();
        let table = state.reader.load();
        if !Arc::ptr_eq(table, &state.view.table) {
            state.view = View::new(table);
        }
        state.view.clone()
    }

    fn local(&self, endpoint: &Arc<Endpoint>, settings: &ServiceSettings) -> Rc<LocalEndpoint> {
        let limits = || PoolLimits {
            idle_timeout: settings.pool.idle_timeout,
            idle_max: settings.pool.idle_max,
            connect_timeout: settings.timeouts.connect,
        };
        let mut pools = self.pools.borrow_mut();
        pools.entry(endpoint.id).or_insert_with(|| Rc::new(LocalEndpoint::new(endpoint.clone(), &limits()))).clone()
    }

    fn budget(&self, settings: &ServiceSettings) -> Rc<TpsBudget> {
        let percent = settings.retry.budget_percent;
        let new = || (percent, Rc::new(TpsBudget::new(BUDGET_TTL, RETRIES_PER_SECOND_MIN, percent as f32 / 100.0)));
        let mut budgets = self.budgets.borrow_mut();
        let kept = budgets.entry(settings.name.clone()).or_insert_with(new);
        if kept.0 != percent {
            *kept = new();
        }
        kept.1.clone()
    }

    /// Closes what is past its time, and forgets endpoints that no table names any more.
    pub(super) fn sweep(&self, now: Instant) {
        self.pools.borrow_mut().retain(|_, local| !local.endpoint.is_withdrawn());
        for local in self.pools.borrow().values() {
            local.pools().for_each(|pool| pool.sweep(now));
        }
        // A worker without requests would otherwise keep an old table alive.
        let view = self.current();
        let services = &view.table.services;
        if self.budgets.borrow().len() > services.len() {
            let names: HashSet<&ServiceName> = services.iter().map(|one| &one.settings.name).collect();
            self.budgets.borrow_mut().retain(|name, _| names.contains(name));
        }
    }

    /// Closes idle connections to these endpoints at once.
    pub(super) fn close_idle(&self, endpoints: &[EndpointId]) {
        let pools = self.pools.borrow();
        for local in endpoints.iter().filter_map(|id| pools.get(id)) {
            local.pools().for_each(crate::upstream::Pool::close_idle);
        }
    }
}

impl View {
    fn new(table: &Arc<Table>) -> Rc<Self> {
        let services = table.services.iter().map(|_| OnceCell::new()).collect();
        Rc::new(Self { table: table.clone(), services })
    }

    /// The service at this index of the table.
    pub(super) fn service(&self, index: usize) -> &Rc<LocalService> {
        self.services[index].get_or_init(|| {
            let slots = PerSlot { blue: OnceCell::new(), green: OnceCell::new() };
            Rc::new(LocalService { service: self.table.services[index].clone(), slots, budget: OnceCell::new() })
        })
    }
}

impl LocalService {
    /// What retries the service has left on this worker.
    pub(super) fn budget(&self, views: &Views) -> &TpsBudget {
        self.budget.get_or_init(|| views.budget(&self.service.settings))
    }

    pub(super) fn slot(&self, slot: Slot, views: &Views) -> &Rc<LocalSlot> {
        self.slots[slot].get_or_init(|| {
            let table = self.service.slots[slot].clone();
            let local = |endpoint| views.local(endpoint, &self.service.settings);
            let endpoints = table.endpoints.iter().map(local).collect();
            Rc::new(LocalSlot { tenure: Rc::new(table.tenure.clone()), endpoints, table })
        })
    }
}
