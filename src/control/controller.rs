//! The controller task.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    clock,
    effects::asked_for,
    entry::{Entry, Surroundings},
    handle::{Handle, Inner},
    message::{AskMessage, Message},
    overview::{Overview, ServiceView, Shown},
    refusal,
    reload_job::ReloadJob,
    saver::Saver,
    trial::{Gallery, Running},
};
use crate::{
    api::{Action, ChangeReply, Event, GateReport, HistoryEntry, Problem, ReloadReply, ReloadStatus},
    config::{Breather, Loaded, Marks, Settings, SlotSettings},
    ids::{ServiceName, Slot},
    net::tls::TlsListeners,
    shadow::Taps,
    store::{State, Store, StoreError},
    switch::{self, OpId},
    table::{Publisher, Table},
    telemetry::Registry,
    upstream::{Workers, health::EndpointNews, lease::Tenure},
};

/// Messages that may wait for the controller.
const INBOX: usize = 1024;
/// Events that a slow subscriber may lag behind.
const EVENTS: usize = 1024;

/// How long a table is kept after another took its place: longer than any worker needs to see that.
pub(super) const TABLE_KEPT: Duration = Duration::from_secs(1);

/// What the controller starts from.
#[derive(Debug)]
pub struct ControllerOptions {
    pub config_path: PathBuf,
    pub loaded: Loaded,
    pub store: Store,
    pub recovered: Option<State>,
    pub publisher: Publisher,
    pub workers: Workers,
    pub registry: Registry,
    pub tls: TlsListeners,
    /// Where recordings draw from.
    pub taps: Taps,
}

/// The controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the recorded state cannot be written: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Plan(String),
}

/// A request between being asked and being answered.
#[derive(Debug)]
pub(super) struct Open {
    /// `None` once it was said that the change is under way.
    pub(super) reply: Option<oneshot::Sender<Result<ChangeReply, Problem>>>,
    pub(super) action: Action,
    /// When it was asked for, RFC 3339.
    pub(super) since: String,
    /// What it comes to, once its gate runs.
    pub(super) change: Option<switch::Change>,
    /// Its gate, while it runs.
    pub(super) trial: Option<Running>,
    /// Who or what ended it, if its gate's verdict did not.
    pub(super) ended_by: Option<String>,
    pub(super) contents: Option<SlotSettings>,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) gate: Option<GateReport>,
    pub(super) previous: Slot,
}

/// Who waits for a reload.
#[derive(Debug)]
pub(super) struct ReloadWaiter {
    pub(super) actor: String,
    /// The file is to be read even if its content is known, because of the files that it names.
    pub(super) anew: bool,
    pub(super) reply: Option<oneshot::Sender<Result<ReloadReply, Problem>>>,
}

pub(super) struct Controller {
    pub(super) config_path: PathBuf,
    /// As applied last.
    pub(super) settings: Settings,
    pub(super) entries: BTreeMap<ServiceName, Entry>,
    pub(super) open: HashMap<OpId, Open>,
    next_op: u64,
    pub(super) around: Surroundings,
    publisher: Publisher,
    pub(super) workers: Workers,
    pub(super) tls: TlsListeners,
    store: Arc<Store>,
    pub(super) saver: Saver,
    overview: watch::Sender<Arc<Overview>>,
    events: broadcast::Sender<Event>,
    pub(super) reload_status: ReloadStatus,
    /// The file that was applied last.
    pub(super) applied: Option<Arc<Loaded>>,
    /// How the files of its gates stood when they were read.
    pub(super) golden_files: Arc<Marks>,
    /// The content that was refused last, until another is applied.
    pub(super) refused: Option<String>,
    pub(super) reload: Option<ReloadJob>,
    pub(super) reloads_waiting: VecDeque<ReloadWaiter>,
}

/// Publishes the first table and starts the controller. Must be called on a tokio runtime.
///
/// # Errors
/// The first state cannot be written, or what was recorded contradicts the file.
pub async fn start(options: ControllerOptions) -> Result<(Handle, JoinHandle<()>), StartError> {
    let (inbox, messages) = mpsc::channel(INBOX);
    let (health, health_changes) = mpsc::channel(INBOX);
    let (overview, overview_seen) = watch::channel(Arc::new(Overview::default()));
    let (events, _) = broadcast::channel(EVENTS);
    let store = Arc::new(options.store);
    let around = Surroundings {
        workers: options.workers.len(),
        registry: options.registry.clone(),
        gallery: Gallery { events: events.clone(), registry: options.registry.clone() },
        health,
        inbox: inbox.clone(),
    };
    let handle = Handle {
        inner: Arc::new(Inner {
            inbox,
            overview: overview_seen.clone(),
            gallery: around.gallery.clone(),
            workers: options.workers.clone(),
            store: store.clone(),
            tls: options.tls.clone(),
            config_path: options.config_path.clone(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            taps: options.taps,
            recordings: Default::default(),
        }),
    };
    let mut controller = Controller {
        config_path: options.config_path,
        settings: options.loaded.settings.clone(),
        entries: BTreeMap::new(),
        open: HashMap::new(),
        next_op: 0,
        around,
        publisher: options.publisher,
        workers: options.workers,
        tls: options.tls,
        saver: Saver::new(store.clone()),
        store,
        overview,
        events,
        reload_status: ReloadStatus::default(),
        applied: None,
        golden_files: Arc::default(),
        refused: None,
        reload: None,
        reloads_waiting: VecDeque::new(),
    };
    options.registry.add_gauges(Box::new(move || {
        // Not under the borrow, which would hold up the controller.
        let overview = overview_seen.borrow().clone();
        overview.gauges()
    }));
    controller.found(options.loaded, options.recovered).await?;
    let task = tokio::spawn(controller.run(messages, health_changes));
    Ok((handle, task))
}

impl Controller {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut health: mpsc::Receiver<EndpointNews>) {
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                Some(change) = health.recv() => Some(Message::Endpoint(change)),
                () = self.saver.go_on() => continue,
            };
            match message {
                Some(Message::Stop { reply }) => {
                    self.save_or_complain().await;
                    // Who asked may have stopped waiting.
                    let _ = reply.send(());
                    return;
                }
                Some(message) => self.receive(message).await,
                None => return,
            }
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Ask(ask) => self.ask(*ask).await,
            Message::GateDone { service, op, report } => self.gate_done(&service, op, report).await,
            Message::Cancel { service, actor, reply } => drop(reply.send(self.cancel(&service, &actor).await)),
            Message::Test { service, slot, actor, reply } => drop(reply.send(self.test(&service, slot, actor))),
            Message::CancelTest { service, slot, actor, reply } => {
                drop(reply.send(self.cancel_test(&service, slot, &actor)));
            }
            Message::Tested { end, noted } => self.tested(end, noted),
            Message::Reload { actor, named_file, reply } => {
                // Who asks has the files that the file names read anew, too.
                let anew = named_file || reply.is_some();
                self.reload_asked(ReloadWaiter { actor, anew, reply }).await;
            }
            Message::ReloadGated(gate) => self.reload_gated(*gate).await,
            Message::Endpoint(news) => self.endpoint_news(news),
            Message::Drained { service, slot, tenure } => self.drained(&service, slot, &tenure).await,
            Message::Cut { service, slot, tenures, actor } => self.cut(&service, slot, tenures, actor).await,
            Message::Stop { .. } => {}
        }
    }

    async fn ask(&mut self, message: AskMessage) {
        let AskMessage { service, ask, contents, if_generation, force, supersede, background, reason, actor, reply } =
            message;
        let found = service.parse::<ServiceName>().ok().and_then(|name| self.entries.get_mut(&name));
        let Some(entry) = found else {
            let problem = refusal::unknown_service(&service, self.entries.keys());
            drop(reply.send(Err(problem)));
            return;
        };
        let (previous, older) = (entry.machine.active(), entry.machine.pending().filter(|_| supersede));
        let name = entry.name().clone();
        let action = match ask {
            switch::Ask::Switch { .. } => Action::Switch,
            switch::Ask::Rollback => Action::Rollback,
            switch::Ask::Replace { .. } => Action::Slot,
        };
        let op = self.new_op();
        let overtaken = format!("superseded by a newer {}, which {actor} asked for", asked_for(action));
        let open = Open {
            reply: Some(reply),
            action,
            since: clock::now(),
            change: None,
            trial: None,
            ended_by: None,
            contents,
            reason,
            actor,
            gate: None,
            previous,
        };
        self.open.insert(op, open);
        let event = switch::Event::Asked { op, ask, if_generation, force, supersede };
        let effects = self.entries.get_mut(&name).map(|entry| entry.machine.step(event)).unwrap_or_default();
        // A request that is refused itself takes nobody's place.
        if let Some(older) = older.filter(|older| effects.contains(&switch::Effect::StopGate(older.op)))
            && let Some(older) = self.open.get_mut(&older.op)
        {
            older.ended_by = Some(overtaken);
        }
        self.carry_out(&name, effects).await;
        if background {
            self.answer_early(&name, op);
        }
    }

    /// An identity for what is asked for.
    pub(super) fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    /// A retired tenure has ended: close its server's idle connections at once, some servers wait for that.
    async fn drained(&mut self, service: &ServiceName, slot: Slot, tenure: &Arc<Tenure>) {
        let Some(entry) = self.entries.get_mut(service) else { return };
        let generation = entry.machine.generation();
        let active = entry.machine.active();
        let books = &mut entry.slots[slot];
        books.past.retain(|past| !Arc::ptr_eq(past, tenure));
        books.cut += tenure.cut();
        let is_open = entry.published.slots[slot].is_open;
        let (cut, emptied) = (books.cut, books.past.is_empty() && active != slot && !is_open);
        if emptied {
            let endpoints = books.endpoints.iter().map(|endpoint| endpoint.id).collect();
            self.workers.close_idle(endpoints).await;
            tracing::info!(%service, %slot, cut, "A slot is drained.");
            self.announce(Event::Drained { at: clock::now(), service: service.clone(), slot, generation, cut });
        }
        self.show_one(service);
    }

    async fn cut(&mut self, service: &ServiceName, slot: Slot, tenures: Vec<Arc<Tenure>>, actor: String) {
        let retired: Vec<_> = tenures.into_iter().filter(|tenure| tenure.is_retired()).collect();
        let cut = self.workers.cut(Some(retired)).await;
        let Some(entry) = self.entries.get(service).filter(|_| cut > 0) else { return };
        tracing::warn!(%service, %slot, cut, %actor, "A drain deadline cut what still ran.");
        let entry = HistoryEntry {
            at: clock::now(),
            service: service.clone(),
            action: Action::Cut,
            outcome: crate::api::Outcome::Done,
            generation: entry.machine.generation(),
            actor,
            from: Some(slot),
            to: None,
            version: None,
            contents: Vec::new(),
            forced: false,
            reason: Some(format!("{cut} cut")),
            gate: None,
        };
        if let Err(error) = self.journal(vec![entry.clone()]).await {
            tracing::error!(%error, "A cut could not be written to the journal.");
        }
        self.announce(Event::Change(entry));
    }

    /// Makes entries durable: they are on disk when this returns.
    pub(super) async fn journal(&self, entries: Vec<HistoryEntry>) -> Result<(), String> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.append(&entries)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(ended) => Err(ended.to_string()),
        }
    }

    /// Shows the books to the workers; `show` or `show_one` must follow.
    pub(super) fn publish(&mut self) {
        let services = self.entries.values().map(|entry| entry.published.clone()).collect();
        let before = self.publisher.current();
        let table = Table::new(services, &before);
        self.publisher.publish(Arc::new(table));
        // Workers let go of a table within moments. Who lets go last has to take thousands of services apart: that is not
        // to be a thread that serves.
        tokio::spawn(async move {
            tokio::time::sleep(TABLE_KEPT).await;
            drop(before);
        });
    }

    /// Shows the books to the rest of the control plane.
    pub(super) fn show(&self) {
        self.show_some(self.entries.keys());
    }

    /// Shows what the books say of some services, and how the last reload went. Others may not have come or gone.
    pub(super) fn show_some<'n>(&self, names: impl IntoIterator<Item = &'n ServiceName>) {
        let mut services = self.overview.borrow().services.clone();
        let mut breather = Breather::begin();
        for name in names {
            breather.step();
            match (services.get(name), self.entries.get(name)) {
                (Some(shown), Some(entry)) => shown.replace(ServiceView::new(entry, self.preparing(name))),
                (None, None) => {}
                (_, None) => drop(Arc::make_mut(&mut services).remove(name)),
                (None, Some(entry)) => {
                    let view = ServiceView::new(entry, self.preparing(name));
                    Arc::make_mut(&mut services).insert(name.clone(), Shown::new(view));
                }
            }
        }
        let (reload, golden_files) = (self.reload_status.clone(), self.golden_files.clone());
        self.overview.send_replace(Arc::new(Overview { services, reload, golden_files }));
    }

    /// Shows what the books say of one service, whatever the number of others.
    pub(super) fn show_one(&self, service: &ServiceName) {
        self.show_some([service]);
    }

    pub(super) fn announce(&self, event: Event) {
        // An error only says that nobody listens.
        let _ = self.events.send(event);
    }
}
