//! The composition root: build, bind, spawn, shut down in order. The only file that sees every room.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::watch, time::error::Elapsed};

use crate::{
    admin,
    config::{self, AccessLog as AccessTarget, Loaded, LogFormat, Settings},
    control::{self, ControllerOptions, Handle},
    net,
    proxy::{Acceptor, Command, WorkerHandle, WorkerOptions, spawn_worker},
    store::Store,
    table,
    telemetry::{AccessLog, Registry, init_tracing},
    upstream::Workers,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The TOML file.
    pub config: PathBuf,
    /// React to SIGTERM, SIGINT and SIGHUP. Off for a proxy inside another program.
    pub signals: bool,
}

impl Options {
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), signals: false }
    }
}

/// A running proxy. Dropping it begins its shutdown and does not wait.
#[derive(Debug)]
pub struct Running {
    proxy_addr: SocketAddr,
    admin_addr: admin::BoundAddr,
    handle: Handle,
    stop: watch::Sender<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How far a shutdown has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    No,
    /// Finish what runs.
    Gracefully,
    /// Cut what runs.
    Now,
}

impl Running {
    /// Where clients connect.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addr
    }

    /// Where the admin API listens.
    pub fn admin(&self) -> &admin::BoundAddr {
        &self.admin_addr
    }

    /// The admin API's TCP address.
    ///
    /// # Panics
    /// If it listens on a unix socket.
    pub fn admin_addr(&self) -> SocketAddr {
        match self.admin_addr {
            admin::BoundAddr::Tcp(address) => address,
            #[allow(clippy::panic, reason = "documented: the caller wrote the config")]
            admin::BoundAddr::Unix(_) => panic!("admin.listen is a unix socket"),
        }
    }

    /// The control plane, without HTTP.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Finishes what runs and ends; returns at once.
    pub fn begin_shutdown(&self) {
        self.stop.send_replace(Stop::Gracefully);
    }

    /// Returns when the proxy has ended.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.send_replace(Stop::Now);
        }
    }
}

/// What is bound and opened before anything runs, so that a mistake ends the start and nothing else.
struct Prepared {
    loaded: Loaded,
    config: PathBuf,
    signals: bool,
    proxy: std::net::TcpListener,
    admin: admin::Listener,
    store: Store,
    recovered: Option<crate::store::State>,
    registry: Registry,
    token: Option<admin::Secret>,
}

/// Starts a proxy. It serves when this returns.
///
/// # Errors
/// The config file is refused, an address cannot be bound, the state directory cannot be used.
pub fn start(options: Options) -> anyhow::Result<Running> {
    let loaded = config::load(&options.config).map_err(|problems| anyhow::anyhow!("{}", problems.render()))?;
    let settings = &loaded.settings;
    init_tracing(settings.log.format == LogFormat::Json, &settings.log.filter)?;
    let prepared = prepare(&options, loaded)?;
    let proxy_addr = prepared.proxy.local_addr().context("the proxy's listener has no address")?;
    let admin_addr = prepared.admin.addr();
    let (stop, stopped) = watch::channel(Stop::No);
    let (ready, started) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("control".into())
        .spawn(move || control_thread(prepared, stopped, &ready))
        .context("no thread for the control plane")?;
    let handle = started.recv().context("the control plane ended while it started")??;
    tracing::info!(proxy = %proxy_addr, admin = %admin_addr, "Verdigris serves.");
    Ok(Running { proxy_addr, admin_addr, handle, stop, thread: Some(thread) })
}

fn prepare(options: &Options, loaded: Loaded) -> anyhow::Result<Prepared> {
    let settings = &loaded.settings;
    let (store, recovered) = Store::open(&settings.state_dir)?;
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    let token = settings.admin.token_file.as_deref().map(admin::Secret::read).transpose()?;
    Ok(Prepared {
        config: options.config.clone(),
        signals: options.signals,
        proxy: net::bind(settings.proxy.listen, "proxy.listen")?,
        admin: admin::bind(&settings.admin)?,
        registry: Registry::new(settings.proxy.workers)?,
        recovered: recovered.state,
        store,
        token,
        loaded,
    })
}

type Ready = mpsc::Sender<anyhow::Result<Handle>>;

fn control_thread(prepared: Prepared, stopped: watch::Receiver<Stop>, ready: &Ready) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("no runtime for the control plane");
    match runtime {
        Ok(runtime) => runtime.block_on(run(prepared, stopped, ready)),
        Err(error) => drop(ready.send(Err(error))),
    }
}

async fn run(prepared: Prepared, mut stopped: watch::Receiver<Stop>, ready: &Ready) {
    let parts = match build(prepared).await {
        Ok(parts) => parts,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(parts.handle.clone())).is_err() {
        return; // Whoever started us is gone.
    }
    let (down, mut signalled) = watch::channel(Stop::No);
    if parts.signals {
        tokio::spawn(listen_to_signals(parts.handle.clone(), down));
    }
    let wanted = until(&mut stopped, &mut signalled, Stop::Gracefully);
    tokio::select! {
        () = parts.acceptor.run() => {}
        () = wanted => {}
    }
    shut_down(parts, stopped, signalled).await;
}

/// Everything that runs.
struct Parts {
    settings: Settings,
    handle: Handle,
    acceptor: Acceptor,
    workers: Vec<WorkerHandle>,
    threads: Vec<thread::JoinHandle<()>>,
    orders: Workers,
    admin: tokio::task::JoinHandle<()>,
    admin_stop: tokio::sync::oneshot::Sender<()>,
    watch: tokio::task::JoinHandle<()>,
    signals: bool,
}

async fn build(prepared: Prepared) -> anyhow::Result<Parts> {
    let settings = prepared.loaded.settings.clone();
    let registry = prepared.registry;
    let access = start_access_log(&settings, &registry)?;
    let (publisher, reader) = table::pointer();
    let mut workers = Vec::new();
    let mut threads = Vec::new();
    for index in 0..settings.proxy.workers {
        let options = WorkerOptions {
            index,
            workers: settings.proxy.workers,
            limits: settings.proxy.limits.clone(),
            registry: registry.clone(),
            access: access.as_ref().map(AccessLog::sink),
        };
        let (worker, thread) = spawn_worker(options, reader.clone()).context("no thread for a worker")?;
        workers.push(worker);
        threads.push(thread);
    }
    let orders = Workers::new(workers.iter().map(|worker| worker.orders.clone()));
    let (handle, _controller) = control::start(ControllerOptions {
        config_path: prepared.config.clone(),
        loaded: prepared.loaded.clone(),
        store: prepared.store,
        recovered: prepared.recovered,
        publisher,
        workers: orders.clone(),
        registry: registry.clone(),
    })
    .await?;
    let acceptor = Acceptor::new(prepared.proxy, workers.clone(), settings.proxy.limits.connections_max)
        .context("the proxy's listener cannot be used")?;
    let watcher = config::Watcher::start(&prepared.config, &prepared.loaded.hash)
        .with_context(|| format!("{} cannot be watched", prepared.config.display()))?;
    let watch = tokio::spawn(watch_file(handle.clone(), watcher));
    let (admin_stop, admin_stopped) = tokio::sync::oneshot::channel::<()>();
    let state =
        admin::State { handle: handle.clone(), metrics: Arc::new(move || registry.render()), token: prepared.token };
    let admin = tokio::spawn(admin::serve(prepared.admin, state, async move {
        // An error only says that the sender is gone: shut down too.
        let _ = admin_stopped.await;
    }));
    let signals = prepared.signals;
    Ok(Parts { settings, handle, acceptor, workers, threads, orders, admin, admin_stop, watch, signals })
}

fn start_access_log(settings: &Settings, registry: &Registry) -> anyhow::Result<Option<AccessLog>> {
    let log = match &settings.proxy.access_log {
        AccessTarget::Off => return Ok(None),
        AccessTarget::Stdout => AccessLog::start(None),
        AccessTarget::File(path) => AccessLog::start(Some(path)),
    };
    let log = log.with_context(|| format!("proxy.access_log {:?} cannot be opened", settings.proxy.access_log))?;
    registry.set_access_dropped(log.dropped());
    Ok(Some(log))
}

async fn watch_file(handle: Handle, mut watcher: config::Watcher) {
    loop {
        watcher.changed().await;
        handle.file_changed("file watch".to_owned()).await;
    }
}

/// Returns when either has come as far as `wanted`.
async fn until(stopped: &mut watch::Receiver<Stop>, signalled: &mut watch::Receiver<Stop>, wanted: Stop) {
    let reached = |stop: &Stop| *stop >= wanted;
    let stopped = async {
        if stopped.wait_for(reached).await.is_err() {
            // Its sender is gone with `Running`, which has said what it wanted.
            std::future::pending::<()>().await;
        }
    };
    let signalled = async {
        if signalled.wait_for(reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = signalled => {}
    }
}

/// SIGHUP reads the config file; SIGTERM and SIGINT shut down, the second one at once.
async fn listen_to_signals(handle: Handle, down: watch::Sender<Stop>) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::hangup()), signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("Signals cannot be listened to; the proxy ends only by being killed.");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                // The outcome is in the log and the status.
                drop(handle.reload("signal SIGHUP".to_owned()).await);
                continue;
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let next = if *down.borrow() == Stop::No { Stop::Gracefully } else { Stop::Now };
        tracing::info!(at_once = next == Stop::Now, "Shutdown was asked for by a signal.");
        down.send_replace(next);
    }
}

/// Ends in order: not ready → no new clients → what runs finishes → control and admin end. Things end when they are
/// empty; only a configured deadline or a second signal cuts.
async fn shut_down(parts: Parts, mut stopped: watch::Receiver<Stop>, mut signalled: watch::Receiver<Stop>) {
    let shutdown = parts.settings.proxy.shutdown.clone();
    parts.handle.announce_shutdown();
    // Clients are still accepted while the load balancer in front has not noticed yet.
    let delayed = tokio::time::timeout(shutdown.delay, parts.acceptor.run());
    tokio::select! {
        _ = delayed => {}
        () = until(&mut stopped, &mut signalled, Stop::Now) => {}
    }
    parts.acceptor.take_the_rest().await;
    drop(parts.acceptor);
    for worker in &parts.workers {
        worker.tell(Command::Announce).await;
    }
    linger(&parts.workers, shutdown.linger, until(&mut stopped, &mut signalled, Stop::Now)).await;
    for worker in &parts.workers {
        worker.tell(Command::Finish).await;
    }
    let ended = tokio::task::spawn_blocking(move || {
        for thread in parts.threads {
            // A panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    });
    let deadline = async {
        match shutdown.deadline {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(ended);
    let why = tokio::select! {
        _ = &mut ended => None,
        () = deadline => Some("the shutdown deadline is over"),
        () = until(&mut stopped, &mut signalled, Stop::Now) => Some("shutdown was asked for at once"),
    };
    if let Some(why) = why
        && cut_and_wait(&parts.orders, why, ended).await.is_err()
    {
        tracing::warn!("Some connections did not end after they were cut; the process ends without them.");
    }
    parts.watch.abort();
    parts.handle.stop().await;
    // Both errors only say that the admin server has ended already.
    let _ = parts.admin_stop.send(());
    let _ = tokio::time::timeout(Duration::from_secs(1), parts.admin).await;
    tracing::info!("Verdigris has ended.");
}

/// Reads idle clients a while longer: a request that is under way on an idle connection must not meet a reset (E17).
async fn linger(workers: &[WorkerHandle], limit: Duration, at_once: impl Future<Output = ()>) {
    let started = Instant::now();
    let empty = async {
        while started.elapsed() < limit && workers.iter().any(|worker| worker.connections() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = empty => {}
        () = at_once => {}
    }
}

/// Cuts what runs, and gives it a moment to end.
async fn cut_and_wait<T>(orders: &Workers, why: &str, ended: impl Future<Output = T>) -> Result<T, Elapsed> {
    let leases = orders.cut(None).await;
    tracing::warn!(leases, "What still ran was cut: {why}.");
    tokio::time::timeout(Duration::from_secs(2), ended).await
}
