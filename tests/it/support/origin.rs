//! A fake model server over HTTP/1.1, written by hand on a socket, so that it can misbehave in every way real ones do.
//!
//! What it does with a request stands in the request's query: `?do=sse&n=5&every=20`. Without `do` it echoes: colour,
//! version, method, target, headers as received and the length of the body, as JSON. `script.rs` has all of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use parking::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinHandle},
};

use super::{
    binary::free_listener,
    script,
    wire::{Fields, Wire},
};

/// What `GET /v2/health/ready` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Status(u16),
    Hang,
}

/// What a server that is not well does with every request but the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Answers with this status.
    Status(u16),
    /// Reads it and closes without a byte.
    Close,
    /// Reads it and never answers.
    Hang,
    /// Answers well, but so many milliseconds late.
    Slow(u64),
}

/// How late the first answers of a server come that has just been started. Requests are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cold {
    /// The first so many take so many milliseconds.
    First(u64, u64),
    /// The first takes so many milliseconds, and each one after it three fifths of the one before.
    Falling(u64),
}

impl Cold {
    /// How late the answer to this request is; `None` if the server is warm by then.
    fn delay(self, index: u64) -> Option<Duration> {
        let millis = match self {
            Cold::First(count, millis) => (index < count).then_some(millis)?,
            Cold::Falling(millis) => (0..index).fold(millis, |millis, _| millis * 3 / 5),
        };
        (millis > 0).then_some(Duration::from_millis(millis))
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Keep,
    /// Closes an idle connection after a random time between the two, in milliseconds.
    CloseIdle(u64, u64),
    /// Every n-th request that comes on a used connection is met by a close instead of an answer: the race of an idle
    /// deadline against a request, made certain. Alternately before and after the request was read.
    DropEvery(u64),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) connection: u64,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    /// The bytes of the head, first line to empty line.
    pub(crate) head: Vec<u8>,
    /// The first MiB of the body.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// True once the whole body has come, correctly framed.
    pub(crate) complete: bool,
}

/// What the connections of one origin share with the test.
pub(crate) struct Shared {
    pub(crate) colour: String,
    pub(crate) ready: Mutex<Ready>,
    pub(crate) reuse: Mutex<Reuse>,
    pub(crate) trouble: Mutex<Option<Trouble>>,
    cold: Mutex<Option<Cold>>,
    served_since_cold: AtomicU64,
    /// Requests of users, and not of a gate, that met a cold server.
    pub(crate) cold_for_users: AtomicU64,
    /// So many connections are closed instead of answered when their first request has come.
    pub(crate) first_drops: AtomicU64,
    /// What a gate is told of the models; without it there is no such page.
    pub(crate) description: Mutex<Option<serde_json::Value>>,
    pub(crate) log: Mutex<Vec<Recorded>>,
    pub(crate) recording: AtomicBool,
    /// Requests other than probes.
    pub(crate) hits: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Requests whose client went away before the answer was complete.
    pub(crate) gone: AtomicU64,
    /// Body bytes that `do=big` could write.
    pub(crate) written: AtomicU64,
    /// Connections that have been closed, by whichever side.
    ended: Mutex<Vec<u64>>,
    /// Used connections that were closed instead of answered.
    pub(crate) dropped: AtomicU64,
    /// One permit lets `do=steps` send one token, and `do=held` its answer.
    pub(crate) steps: Semaphore,
    /// Where requests with an `x-soak-id` are noted, `R` when they came, `S` before their answer's end was sent, and `A` after it.
    journal: Mutex<Option<std::fs::File>>,
    /// Idle connections are to be closed now, with a reset or without.
    upheaval: tokio::sync::watch::Sender<bool>,
    /// Connections that have served nothing are to be closed now.
    leaving: tokio::sync::watch::Sender<()>,
    seed: AtomicU64,
}

/// A running fake model server; dropping it closes the listener and every connection.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    accept: JoinHandle<()>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Origin {
    /// Listens on an address that nobody takes while it is down.
    pub(crate) async fn start(colour: &str) -> Self {
        Self::on(TcpListener::from_std(free_listener()).unwrap(), colour)
    }

    pub(crate) fn on(listener: TcpListener, colour: &str) -> Self {
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::new(colour));
        let open = Arc::new(Mutex::new(Vec::new()));
        let accept = tokio::spawn(accept_all(listener, shared.clone(), open.clone()));
        Self { addr, shared, accept, open }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn readiness(&self, ready: Ready) {
        *self.shared.ready.lock() = ready;
    }

    pub(crate) fn reuse(&self, reuse: Reuse) {
        *self.shared.reuse.lock() = reuse;
    }

    /// Notes what comes and what is answered, for a test that outlives this process.
    pub(crate) fn journal(&self, file: std::fs::File) {
        *self.shared.journal.lock() = Some(file);
    }

    /// Closes every idle connection, with a reset or without.
    pub(crate) fn close_idle(&self, reset: bool) {
        self.shared.upheaval.send_replace(reset);
    }

    /// Closes every connection that has served nothing yet, and returns when that has happened to so many.
    pub(crate) async fn close_unused(&self, count: usize) {
        let before = self.shared.ended.lock().len();
        self.shared.leaving.send_replace(());
        super::wait::until_true("unused connections to be closed", || self.shared.ended.lock().len() >= before + count)
            .await;
    }

    /// What `/v2/models/NAME` and `/v1/models` say.
    pub(crate) fn describe(&self, description: Option<serde_json::Value>) {
        *self.shared.description.lock() = description;
    }

    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        *self.shared.trouble.lock() = trouble;
    }

    /// Every answer from now on comes as those of a server that has just been started.
    pub(crate) fn cool(&self, cold: Cold) {
        self.shared.served_since_cold.store(0, SeqCst);
        *self.shared.cold.lock() = Some(cold);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// Every request but the probes, in the order of their heads.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.log.lock().clone()
    }

    /// The only request that came.
    pub(crate) fn only_request(&self) -> Recorded {
        let all = self.requests();
        assert_eq!(all.len(), 1, "one request was expected: {all:#?}");
        all.into_iter().next().unwrap()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.shared.hits.load(SeqCst)
    }

    pub(crate) fn gone(&self) -> u64 {
        self.shared.gone.load(SeqCst)
    }

    /// True once this connection has been closed, by whichever side.
    pub(crate) fn has_ended(&self, connection: u64) -> bool {
        self.shared.ended.lock().contains(&connection)
    }

    pub(crate) fn step(&self) {
        self.shared.steps.add_permits(1);
    }

    /// Stops as a killed process does: no listener, every connection reset.
    pub(crate) async fn kill(&self) {
        self.accept.abort();
        for connection in self.open.lock().drain(..) {
            connection.abort();
        }
        super::wait::until("the listener's end", || async {
            match TcpStream::connect(self.addr).await {
                Ok(_) => Err("still accepts"),
                Err(_) => Ok(()),
            }
        })
        .await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accept.abort();
        for connection in self.open.lock().drain(..) {
            connection.abort();
        }
    }
}

impl Shared {
    fn new(colour: &str) -> Self {
        Self {
            colour: colour.to_owned(),
            ready: Mutex::new(Ready::Status(200)),
            reuse: Mutex::new(Reuse::Keep),
            trouble: Mutex::new(None),
            cold: Mutex::new(None),
            served_since_cold: AtomicU64::new(0),
            cold_for_users: AtomicU64::new(0),
            first_drops: AtomicU64::new(0),
            description: Mutex::new(None),
            log: Mutex::new(Vec::new()),
            recording: AtomicBool::new(true),
            hits: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            written: AtomicU64::new(0),
            ended: Mutex::new(Vec::new()),
            dropped: AtomicU64::new(0),
            steps: Semaphore::new(0),
            journal: Mutex::new(None),
            upheaval: tokio::sync::watch::Sender::new(false),
            leaving: tokio::sync::watch::Sender::new(()),
            seed: AtomicU64::new(0x9E37_79B9_7F4A_7C15),
        }
    }

    /// A number of a fixed sequence, so that a run can be repeated.
    pub(crate) fn random(&self, from: u64, to: u64) -> u64 {
        let mut x = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        from + (x ^ (x >> 31)) % (to - from + 1)
    }

    /// How late the next answer is; notes whom it hits.
    pub(crate) fn coldness(&self, is_gate: bool) -> Option<Duration> {
        let cold = (*self.cold.lock())?;
        let delay = cold.delay(self.served_since_cold.fetch_add(1, SeqCst))?;
        self.cold_for_users.fetch_add(u64::from(!is_gate), SeqCst);
        Some(delay)
    }

    /// One line, in one write, which survives the process.
    pub(crate) fn note(&self, what: char, id: Option<&String>) {
        use std::io::Write as _;
        let Some(id) = id else { return };
        if let Some(file) = &mut *self.journal.lock() {
            file.write_all(format!("{what} {id}\n").as_bytes()).unwrap();
        }
    }

    fn idle_limit(&self) -> Option<Duration> {
        match *self.reuse.lock() {
            Reuse::CloseIdle(from, to) => Some(Duration::from_millis(self.random(from, to))),
            Reuse::Keep | Reuse::DropEvery(_) => None,
        }
    }

    /// Whether this used connection is to be dropped, and if so whether before the request is read.
    fn drops_now(&self) -> Option<bool> {
        let Reuse::DropEvery(nth) = *self.reuse.lock() else { return None };
        let count = self.dropped.fetch_add(1, SeqCst) + 1;
        count.is_multiple_of(nth).then_some((count / nth).is_multiple_of(2))
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, open: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let id = shared.connections.fetch_add(1, SeqCst) + 1;
        let shared = shared.clone();
        let task = tokio::spawn(async move {
            serve(Wire::new(stream), id, shared.clone()).await;
            shared.ended.lock().push(id);
        });
        open.lock().push(task.abort_handle());
    }
}

async fn serve(mut wire: Wire, connection: u64, shared: Arc<Shared>) {
    let mut served = 0;
    while await_request(&mut wire, served, &shared).await {
        let Ok(Some(head)) = wire.head().await else { return };
        match script::answer(wire, &head, connection, &shared).await {
            Some(kept) => wire = kept,
            None => return,
        }
        served += 1;
    }
}

/// Waits for the first byte of the next request; false if the connection is to be closed instead.
async fn await_request(wire: &mut Wire, served: u64, shared: &Shared) -> bool {
    if served == 0 {
        return await_first(wire, shared).await;
    }
    if wire.buffer.is_empty() {
        let limit = shared.idle_limit().unwrap_or(Duration::from_secs(3600));
        // The wait alone is limited: a request whose first byte has come is answered.
        let mut upheaval = shared.upheaval.subscribe();
        tokio::select! {
            readable = tokio::time::timeout(limit, wire.stream.readable()) => match readable {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            },
            _ = upheaval.changed() => {
                if *upheaval.borrow() {
                    socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).ok();
                }
                return false;
            }
        }
    }
    match shared.drops_now() {
        Some(true) => false,
        Some(false) => {
            wire.head().await.ok();
            false
        }
        None => true,
    }
}

/// The same of a connection that has served nothing yet.
async fn await_first(wire: &mut Wire, shared: &Shared) -> bool {
    let (mut leaving, mut byte) = (shared.leaving.subscribe(), [0]);
    tokio::select! {
        first = wire.stream.peek(&mut byte) => if first.is_err() { return false },
        _ = leaving.changed() => return false,
    }
    let drops = shared.first_drops.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    if drops {
        wire.head().await.ok();
    }
    !drops
}

/// A lock whose poison is ignored: a failed test must show its own panic, not the next one's.
mod parking {
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
