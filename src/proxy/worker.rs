//! A worker: one thread, one runtime, its own connections, pools, leases and counters.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderValue;
use tokio::{
    runtime::RuntimeMetrics,
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    ahead::connect_ahead,
    answer,
    exchange::Client,
    forward::COMPLAINT_INTERVAL,
    handler,
    intake::Shift,
    request_id::RequestIds,
    standing::{Accepted, Standing},
    view::Views,
};
use crate::{
    config::settings::ClientRules,
    ids::{ServiceName, Slot},
    net::{ConnRules, Patrol, Refusals, serve, tls::ServerTls},
    shadow::{Tap, TapReader},
    table::Reader,
    telemetry::{AccessSink, FailureKind, Registry},
    upstream::{
        Balancer, LocalEndpoint, Order, ReplayBudget,
        lease::{Ledger, Patience},
    },
};

/// How often time limits are looked at. They are met up to this much late.
const TICK: Duration = Duration::from_millis(100);
/// Commands that may wait for a worker.
const INBOX: usize = 1024;
/// Tasks that have their turn before the sockets are looked at again, if so many wait; HAProxy takes 200 events at once, the
/// runtime's own figure is 61. What comes later would have to wait behind them in any case, and what leaves in one go
/// finds its receivers awake.
const TURNS: u32 = 256;

/// What a worker is told by whoever runs it. What control asks of it is an [`Order`].
#[derive(Debug)]
pub enum Command {
    /// Serve this client.
    Serve(Accepted),
    /// Accept clients, for all workers, until the shift is over.
    Accept(Shift),
    /// Shutdown began; answers when clients are being told.
    Announce(oneshot::Sender<()>),
    /// Close client connections as soon as nothing is open on them, then end.
    Finish,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerOptions {
    pub index: usize,
    pub workers: usize,
    pub clients: Arc<ClientRules>,
    /// `None`: clients speak in clear.
    pub tls: Option<ServerTls>,
    pub registry: Registry,
    pub access: Option<AccessSink>,
    pub taps: TapReader,
}

/// The other threads' end of a worker. Cloning shares it.
#[derive(Clone)]
pub struct WorkerHandle {
    inbox: mpsc::Sender<Command>,
    /// Control's end.
    pub orders: mpsc::Sender<Order>,
    standing: Arc<Standing>,
    runtime: Arc<OnceLock<RuntimeMetrics>>,
}

/// The state of a worker; lives on its thread.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) views: Views,
    pub(super) ledger: Rc<Ledger>,
    pub(super) balancer: Balancer,
    pub(super) replay_budget: Rc<ReplayBudget>,
    pub(super) request_ids: RequestIds,
    pub(super) registry: Registry,
    pub(super) access: Option<AccessSink>,
    taps: RefCell<TapReader>,
    /// Followed at reloads, by open connections too.
    clients: RefCell<Arc<ClientRules>>,
    /// How new connections are spoken with; made anew at reloads.
    rules: RefCell<Rc<ConnRules>>,
    pub(super) patrol: Rc<Patrol>,
    standing: Arc<Standing>,
    complained: Cell<Option<Instant>>,
}

impl WorkerHandle {
    /// Tasks that live on the worker's runtime.
    pub fn tasks(&self) -> usize {
        self.runtime.get().map_or(0, RuntimeMetrics::num_alive_tasks)
    }

    /// Open client connections; none once it has ended, whatever it was still to take.
    pub fn connections(&self) -> usize {
        if self.has_ended() { 0 } else { self.standing.connections() }
    }

    /// True once it takes no more commands: after [`Command::Finish`], or because it panicked.
    pub(super) fn has_ended(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Tells the worker something; waits for room in its inbox. False if the worker has ended.
    pub async fn tell(&self, command: Command) -> bool {
        self.inbox.send(command).await.is_ok()
    }

    /// Room for one more command; `None` if there is none at the moment, or the worker has ended.
    pub(super) fn room(&self) -> Option<mpsc::Permit<'_, Command>> {
        self.inbox.try_reserve().ok()
    }

    pub(super) fn has_room(&self) -> bool {
        self.inbox.capacity() > 0
    }

    /// Returns when it has room for a command, or has ended. Cancel-safe.
    pub(super) async fn wait_for_room(&self) {
        drop(self.inbox.reserve().await);
    }

    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }
}

/// Says so if a worker ends before its time: one that panics takes its clients with it and cannot be begun anew, because
/// its counters and leases are its own. The others go on without it, and `/ready` says 503.
struct Alarm {
    index: usize,
    armed: bool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.armed {
            tracing::error!(
                worker = self.index,
                "A worker has ended unexpectedly, and its clients were cut off. The other workers serve on and take the \
                 new clients; without others the proxy ends. Restart it to get all of them back, and report this with \
                 the log."
            );
        }
    }
}

/// Starts a worker's thread. It ends after [`Command::Finish`], when its last connection and lease have ended.
///
/// # Errors
/// No thread or runtime is to be had.
pub fn spawn_worker(
    options: WorkerOptions,
    reader: impl FnOnce() -> Reader + Send + 'static,
) -> io::Result<(WorkerHandle, thread::JoinHandle<()>)> {
    let (inbox, commands) = mpsc::channel(INBOX);
    let (orders, ordered) = mpsc::channel(INBOX);
    let standing = Arc::new(Standing::default());
    let metrics = Arc::new(OnceLock::new());
    let handle = WorkerHandle { inbox, orders, standing: standing.clone(), runtime: metrics.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let thread = thread::Builder::new().name(format!("worker-{}", options.index)).spawn(move || {
        let mut alarm = Alarm { index: options.index, armed: true };
        let mut runtime = runtime;
        match runtime.enable_all().event_interval(TURNS).build_local(tokio::runtime::LocalOptions::default()) {
            Ok(runtime) => {
                metrics.get_or_init(|| runtime.metrics());
                runtime.block_on(run(options, reader(), commands, ordered, standing));
                alarm.armed = false;
            }
            Err(error) => tracing::error!(%error, "A worker could not start its runtime."),
        }
    })?;
    Ok((handle, thread))
}

async fn run(
    options: WorkerOptions,
    reader: Reader,
    mut commands: mpsc::Receiver<Command>,
    mut orders: mpsc::Receiver<Order>,
    standing: Arc<Standing>,
) {
    let worker = Worker::new(options, reader, standing);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut finishing = false;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Serve(client)) => worker.serve(client),
                Some(Command::Accept(shift)) => {
                    let worker = worker.clone();
                    tokio::task::spawn_local(async move { shift.work(&worker).await });
                }
                Some(Command::Announce(heard)) => {
                    worker.patrol.announce();
                    // Who asked may have stopped waiting.
                    let _ = heard.send(());
                }
                Some(Command::Finish) => {
                    finishing = true;
                    worker.patrol.finish();
                }
                None => return,
            },
            Some(order) = orders.recv() => worker.obey(order),
            _ = tick.tick() => worker.tick(),
        }
        if finishing && worker.is_empty() && commands.is_empty() {
            return;
        }
    }
}

impl Worker {
    pub(super) fn new(options: WorkerOptions, reader: Reader, standing: Arc<Standing>) -> Rc<Self> {
        let request_ids = RequestIds::new();
        let rules = ConnRules::new(options.clients.clone(), options.tls, options.registry.clone());
        Rc::new(Self {
            index: options.index,
            views: Views::new(reader),
            ledger: Ledger::new(options.index),
            balancer: Balancer::new(0x9e37_79b9_7f4a_7c15 ^ (options.index as u64 + 1)),
            replay_budget: ReplayBudget::new(options.clients.limits.replay_buffer_total / options.workers.max(1)),
            request_ids,
            registry: options.registry,
            access: options.access,
            taps: RefCell::new(options.taps),
            clients: RefCell::new(options.clients),
            rules: RefCell::new(Rc::new(rules)),
            patrol: Patrol::new(Instant::now()),
            standing,
            complained: Cell::new(None),
        })
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::CloseIdle(endpoints) => self.views.close_idle(&endpoints),
            Order::Connect { ahead, reply } => {
                let worker = self.clone();
                tokio::task::spawn_local(async move { drop(reply.send(connect_ahead(&worker, &ahead).await)) });
            }
            // Who asked may have given up waiting; the answer is then for nobody.
            Order::Oldest { tenures, reply } => drop(reply.send(self.ledger.oldest(&tenures, Instant::now()))),
            Order::Cut { tenures, reply } => drop(reply.send(self.ledger.cut(tenures.as_deref()))),
            Order::Clients(clients) => {
                self.clients.replace(clients.clone());
                let rules = self.rules.borrow().with_clients(clients);
                self.rules.replace(Rc::new(rules));
            }
        }
    }

    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    pub(super) fn serve(self: &Rc<Self>, client: Accepted) {
        let worker = self.clone();
        let rules = self.rules.borrow().clone();
        // Boxed, because a task moves its future about when it begins and ends.
        tokio::task::spawn_local(Box::pin(async move {
            let Accepted { stream, peer, open: _open } = client;
            let patrol = worker.patrol.clone();
            serve(stream, peer, rules, patrol, &*worker.clone(), |conn| {
                let client = Rc::new(Client { address: address_field(conn.peer), conn });
                hyper::service::service_fn(move |request| handler::handle(&worker, &client, request))
            })
            .await;
        }));
    }

    fn tick(&self) {
        let now = Instant::now();
        let limits = &self.clients.borrow().limits;
        self.standing.beat();
        self.patrol.tick(now, limits);
        self.ledger.tick(now, Patience { body: limits.body_timeout, send: limits.send_timeout });
        self.views.sweep(now);
        if let Some(access) = &self.access {
            access.flush();
        }
    }

    /// True if this peer's word about a client is taken.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.clients.borrow().trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    /// Header fields that a request may have, and the time for the next byte of its body.
    pub(super) fn head_limits(&self) -> (usize, Option<Duration>) {
        let limits = &self.clients.borrow().limits;
        (limits.headers_max, limits.body_timeout)
    }

    /// The tap on this slot, if there is one.
    pub(super) fn tap(&self, service: &ServiceName, slot: Slot) -> Option<Arc<Tap>> {
        self.taps.borrow_mut().find(service, slot)
    }

    /// A connection counts from its accept on, before its task has run for the first time.
    fn is_empty(&self) -> bool {
        self.standing.connections() == 0 && self.ledger.is_empty()
    }

    /// Says in the log what an endpoint did, but not more than once a second: under an outage every request fails.
    pub(super) fn complain(&self, local: &LocalEndpoint, error: &dyn std::error::Error) {
        let now = Instant::now();
        if self.complained.get().is_some_and(|last| now.saturating_duration_since(last) < COMPLAINT_INTERVAL) {
            return;
        }
        self.complained.set(Some(now));
        tracing::warn!(endpoint = %local.endpoint.settings, error = %error, "A request failed at an endpoint.");
    }
}

impl Refusals for Worker {
    fn refuse(&self, _peer: IpAddr, kind: FailureKind) -> Bytes {
        self.registry.unrouted(kind);
        answer::before_request(kind, &self.request_ids.take_over(None))
    }
}

/// How fields name a client. By hand for IPv4, because the formatting machinery would cost a tenth of a connection's set-up.
fn address_field(peer: IpAddr) -> HeaderValue {
    let named = match peer {
        IpAddr::V4(peer) => {
            let (mut text, mut end) = ([0; "255.255.255.255".len()], 0);
            for octet in peer.octets() {
                if end > 0 {
                    text[end] = b'.';
                    end += 1;
                }
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(octet).as_bytes();
                text[end..end + digits.len()].copy_from_slice(digits);
                end += digits.len();
            }
            HeaderValue::from_bytes(&text[..end])
        }
        IpAddr::V6(peer) => HeaderValue::from_str(&peer.to_string()),
    };
    named.unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log says when a worker's thread ends this way.
    fn log_of(work: impl FnOnce(&mut Alarm) + std::panic::UnwindSafe) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(log, || {
            // Its outcome is what the log says.
            let _ = std::panic::catch_unwind(|| work(&mut Alarm { index: 3, armed: true }));
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Fails when: `address_field` loses a digit or a dot.
    #[test]
    fn clients_are_named() {
        for peer in ["0.0.0.0", "10.1.22.133", "255.255.255.255", "::1", "2001:db8::a"] {
            assert_eq!(address_field(peer.parse().unwrap()), peer);
        }
    }

    /// Fails when: `Alarm` says nothing, or says it of an orderly end, too.
    #[test]
    fn the_log_says_that_a_worker_has_panicked() {
        let said = log_of(|_| panic!("injected"));
        assert!(said.contains("ERROR") && said.contains("A worker has ended unexpectedly"), "{said}");
        assert!(said.contains("worker=3"), "{said}");
        assert_eq!(log_of(|alarm| alarm.armed = false), "");
    }
}
