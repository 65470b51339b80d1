//! Builds, binds and spawns, in an order in which a mistake ends the start and nothing else.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::watch;

use super::{
    AdminAddr, Ended, Options, Running,
    shutdown::{Signals, Stop, shut_down, until},
};
use crate::{
    admin,
    config::{self, AccessLog as AccessTarget, AdminListen, Loaded, LogFormat, NamedFiles, Settings, TlsSettings},
    control::{self, ControllerOptions, Handle},
    net::{self, tls::TlsListeners},
    proxy::{Acceptor, WorkerHandle, WorkerOptions, spawn_worker},
    shadow::Taps,
    store::Store,
    table,
    telemetry::{AccessLog, GaugeSample, Registry, init_tracing, names},
    upstream::Workers,
};

/// What is bound and opened before anything runs, so that a mistake ends the start and nothing else.
struct Prepared {
    loaded: Loaded,
    config: PathBuf,
    signals: bool,
    proxy: std::net::TcpListener,
    store: Store,
    recovered: Option<crate::store::State>,
    registry: Registry,
    tls: TlsListeners,
    token: Option<net::Secret>,
}

/// Starts a proxy. It serves when this returns.
///
/// # Errors
/// The config file is refused, an address cannot be bound, the state directory cannot be used.
pub fn start(options: Options) -> anyhow::Result<Running> {
    let loaded = config::load(&options.config).map_err(|problems| anyhow::anyhow!("{}", problems.render()))?;
    let settings = &loaded.settings;
    init_tracing(settings.log.format == LogFormat::Json, &settings.log.filter)?;
    let prepared = prepare(options, loaded)?;
    let proxy_addr = prepared.proxy.local_addr().context("the proxy's listener has no address")?;
    let (stop, stopped) = watch::channel(Stop::No);
    let (ready, started) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("control".into())
        .spawn(move || control_thread(prepared, stopped, &ready))
        .context("no thread for the control plane")?;
    let (handle, admin_addr) = started.recv().context("the control plane ended while it started")??;
    tracing::info!(proxy = %proxy_addr, admin = %admin_addr, "Verdigris serves.");
    Ok(Running { proxy_addr, admin_addr, handle, stop, thread: Some(thread) })
}

fn prepare(options: Options, loaded: Loaded) -> anyhow::Result<Prepared> {
    let settings = &loaded.settings;
    let tls = TlsListeners::default().load(&options.config, &loaded);
    let tls = tls.map_err(|problems| anyhow::anyhow!("{}", problems.render()))?;
    for warning in tls.warnings() {
        tracing::warn!("{warning}");
    }
    let (store, recovered) = Store::open(&settings.state_dir)?;
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    let token = settings.admin.token_file.as_deref().map(net::Secret::read).transpose()?;
    Ok(Prepared {
        config: options.config,
        signals: options.signals,
        proxy: net::bind(settings.proxy.listen, "proxy.listen")?,
        registry: Registry::new(settings.proxy.workers)?,
        tls: TlsListeners::new(tls),
        recovered: recovered.state,
        store,
        token,
        loaded,
    })
}

type Ready = mpsc::Sender<anyhow::Result<(Handle, AdminAddr)>>;

fn control_thread(prepared: Prepared, stopped: watch::Receiver<Stop>, ready: &Ready) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("no runtime for the control plane");
    match runtime {
        Ok(runtime) => runtime.block_on(run(prepared, stopped, ready)),
        Err(error) => {
            drop(ready.send(Err(error)));
            Ended::InOrder
        }
    }
}

/// Serves to the end. A start that fails is told by `ready`.
async fn run(prepared: Prepared, mut stopped: watch::Receiver<Stop>, ready: &Ready) -> Ended {
    let refuse = |error| {
        drop(ready.send(Err(error)));
        Ended::InOrder
    };
    let signals = match prepared.signals.then(Signals::register).transpose() {
        Ok(signals) => signals,
        Err(error) => return refuse(anyhow::Error::new(error).context("signals cannot be listened to")),
    };
    let mut parts = match build(prepared).await {
        Ok(parts) => parts,
        Err(error) => return refuse(error),
    };
    if ready.send(Ok((parts.handle.clone(), parts.admin_addr.clone()))).is_err() {
        return Ended::InOrder; // Whoever started us is gone.
    }
    let (down, mut signalled) = watch::channel(Stop::No);
    if let Some(signals) = signals {
        tokio::spawn(signals.listen(parts.handle.clone(), down));
    }
    let wanted = until(&mut stopped, &mut signalled, Stop::Gracefully);
    let ended = tokio::select! {
        () = parts.acceptor.run() => Ended::WithoutWorkers,
        () = wanted => Ended::InOrder,
    };
    if ended == Ended::WithoutWorkers {
        tracing::error!("Every worker has ended, so nobody can be served: the process ends, to be started again.");
    }
    shut_down(parts, stopped, signalled).await;
    ended
}

/// Everything that runs.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) handle: Handle,
    pub(super) acceptor: Acceptor,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) threads: Vec<thread::JoinHandle<()>>,
    pub(super) orders: Workers,
    pub(super) admin_addr: AdminAddr,
    pub(super) admin: tokio::task::JoinHandle<()>,
    pub(super) admin_stop: tokio::sync::oneshot::Sender<()>,
    pub(super) watch: tokio::task::JoinHandle<()>,
}

async fn build(prepared: Prepared) -> anyhow::Result<Parts> {
    let settings = prepared.loaded.settings.clone();
    let (listener, admin_addr) = bind_admin(&settings)?;
    let registry = prepared.registry;
    let access = start_access_log(&settings, &registry)?;
    let (publisher, reader) = table::pointer();
    let clients = Arc::new(settings.proxy.client_rules());
    let taps = Taps::default();
    let mut workers = Vec::new();
    let mut threads = Vec::new();
    for index in 0..settings.proxy.workers {
        let options = WorkerOptions {
            index,
            workers: settings.proxy.workers,
            clients: clients.clone(),
            tls: prepared.tls.proxy.clone(),
            registry: registry.clone(),
            access: access.as_ref().map(AccessLog::sink),
            taps: taps.reader(),
        };
        let (worker, thread) = spawn_worker(options, reader.clone()).context("no thread for a worker")?;
        workers.push(worker);
        threads.push(thread);
    }
    registry.add_gauges(connection_gauges(workers.clone()));
    let listeners = prepared.tls.clone();
    registry.add_gauges(Box::new(move || listeners.gauges()));
    let orders = Workers::new(workers.iter().map(|worker| worker.orders.clone()));
    let (handle, _controller) = control::start(ControllerOptions {
        config_path: prepared.config.clone(),
        loaded: prepared.loaded.clone(),
        store: prepared.store,
        recovered: prepared.recovered,
        publisher,
        workers: orders.clone(),
        registry: registry.clone(),
        tls: prepared.tls.clone(),
        taps,
    })
    .await?;
    let acceptor = Acceptor::new(prepared.proxy, workers.clone(), settings.proxy.limits.connections_max);
    if settings.proxy.defer_accept {
        acceptor.defer();
    }
    let watcher = config::Watcher::start(&prepared.config, &prepared.loaded.hash)
        .with_context(|| format!("{} cannot be watched", prepared.config.display()))?;
    let (watching, listeners) = (handle.clone(), prepared.tls.clone());
    let watch = tokio::spawn(async move {
        let files = watch_named_files(watching.clone());
        tokio::join!(watch_file(watching, watcher), files, watch_certificates(listeners));
    });
    let (admin_stop, admin_stopped) = tokio::sync::oneshot::channel::<()>();
    let state = admin::State {
        handle: handle.clone(),
        metrics: Arc::new(move || registry.render()),
        token: prepared.token,
        tls: prepared.tls.admin,
        needs_certificate: settings.admin.tls.as_ref().is_some_and(TlsSettings::knows_clients),
    };
    let admin = tokio::spawn(admin::serve(listener, state, async move {
        // An error only says that the sender is gone: shut down too.
        let _ = admin_stopped.await;
    }));
    Ok(Parts { settings, handle, acceptor, workers, threads, orders, admin_addr, admin, admin_stop, watch })
}

fn bind_admin(settings: &Settings) -> anyhow::Result<(admin::Listener, AdminAddr)> {
    let listener = admin::bind(&settings.admin)?;
    let address = match (&settings.admin.listen, listener.local_addr()) {
        (_, Some(bound)) if settings.admin.tls.is_some() => AdminAddr::Tls(bound),
        (_, Some(bound)) => AdminAddr::Tcp(bound),
        (AdminListen::Tcp(wanted), None) => AdminAddr::Tcp(*wanted),
        (AdminListen::Unix(path), None) => AdminAddr::Unix(path.clone()),
    };
    Ok((listener, address))
}

fn connection_gauges(workers: Vec<WorkerHandle>) -> Box<dyn Fn() -> Vec<GaugeSample> + Send + Sync> {
    Box::new(move || {
        let sample = |metric, index: usize, value: usize| GaugeSample {
            metric,
            labels: vec![("worker", index.to_string())],
            value: value as f64,
        };
        let both = |(index, worker): (usize, &WorkerHandle)| {
            [sample(names::CONNECTIONS, index, worker.connections()), sample(names::TASKS, index, worker.tasks())]
        };
        workers.iter().enumerate().flat_map(both).collect()
    })
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

/// What stands in a file that the config file names is a part of it.
async fn watch_named_files(handle: Handle) {
    let mut files = NamedFiles::default();
    loop {
        tokio::time::sleep(NAMED_FILES_LOOKED_AT_EVERY).await;
        let read = handle.golden_files();
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.look(&read);
            (files, changed)
        });
        // A panic in it has been reported by the panic hook.
        let Ok((same_files, changed)) = looked.await else { return };
        files = same_files;
        if changed {
            handle.named_file_changed("golden file watch".to_owned()).await;
        }
    }
}

/// Certificates are renewed by programs that know nothing of this one, often file by file.
async fn watch_certificates(listeners: TlsListeners) {
    if listeners.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(CERTIFICATES_LOOKED_AT_EVERY).await;
        let listeners = listeners.clone();
        // A panic in it has been reported by the panic hook.
        let _ = tokio::task::spawn_blocking(move || listeners.refresh()).await;
    }
}

const NAMED_FILES_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
const CERTIFICATES_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
