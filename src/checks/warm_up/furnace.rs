//! One endpoint being warmed: its connections, what is sent on them, and what is seen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{Instant as Deadline, timeout_at},
};

use super::{
    rule::{Verdict, Window, judge},
    sample::window_size,
};
use crate::{
    checks::{
        ask::{Bounds, Line, address},
        golden::{Answer, Case, Set},
    },
    config::settings::ServiceSettings,
    upstream::{Endpoint, Target},
};

/// An endpoint, and what it is sent.
pub(super) struct Furnace {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) set: Arc<Set>,
    pub(super) settings: Arc<ServiceSettings>,
    /// The requests, by their index in the set; at least one.
    pub(super) chosen: Vec<usize>,
    /// When the time is over, and how much it was.
    pub(super) until: Deadline,
    pub(super) limit: Duration,
    /// Connections that wait for their next request: those for HTTP, and those for gRPC.
    pub(super) kept: Mutex<[Vec<Line>; 2]>,
    pub(super) seen: Mutex<Seen>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) sent: usize,
    /// How long the answer took that came first.
    pub(super) first: Option<Duration>,
    /// The first failure of each request that had one, by its index in the set.
    pub(super) failed: BTreeMap<usize, String>,
}

/// How it ended.
pub(super) struct Heat {
    pub(super) windows: Vec<Window>,
    /// `None`: too many requests failed.
    pub(super) verdict: Option<Verdict>,
}

/// A window under way.
struct Batch {
    size: usize,
    /// From then on nothing begins that need not.
    enough: Deadline,
    next: AtomicUsize,
    took: Mutex<Vec<Duration>>,
    /// When each client's request began.
    open: Mutex<Vec<Option<Instant>>>,
}

impl Furnace {
    /// Sends window after window until the rule has its verdict, the time is over, or too many have failed. `tell` is
    /// shown the windows. Dropping the future ends it.
    pub(super) async fn heat(self: &Arc<Self>, tell: impl Fn(&[Window])) -> Heat {
        let top = self.settings.gate.warm_up_concurrency as usize;
        let (mut windows, mut is_over) = (Vec::new(), false);
        loop {
            let verdict = judge(&windows, top, is_over);
            let Verdict::Ask(at_once) = verdict else { return Heat { windows, verdict: Some(verdict) } };
            let batch = Arc::new(Batch::new(at_once, window_size(at_once, self.chosen.len()), self.limit));
            let ended = timeout_at(self.until, self.send_all(&batch, at_once)).await.is_ok();
            is_over = !ended || Deadline::now() >= self.until;
            let window = batch.window(at_once, ended, windows.last());
            if self.has_failed() || (ended && window.is_none()) {
                return Heat { windows, verdict: None };
            }
            windows.extend(window);
            tell(&windows);
        }
    }

    /// As many may fail as the file lets fail, and the golden step did; but of those that are sent half must succeed, or
    /// little would be warmed.
    pub(super) fn has_failed(&self) -> bool {
        let all = self.set.cases().len();
        let allowed = (all - self.set.need().of(all)).min(self.chosen.len() / 2);
        lock(&self.seen).failed.len() > allowed
    }

    async fn send_all(self: &Arc<Self>, batch: &Arc<Batch>, at_once: usize) {
        let mut clients = JoinSet::new();
        for client in 0..at_once {
            let (furnace, batch) = (self.clone(), batch.clone());
            clients.spawn(async move { furnace.client(&batch, client).await });
        }
        while clients.join_next().await.is_some() {}
    }

    /// Sends one request after the other; several clients do so at once.
    async fn client(&self, batch: &Batch, client: usize) {
        let mut is_first = true;
        while let Some(place) = batch.begin(client, is_first).filter(|_| !self.has_failed()) {
            is_first = false;
            let index = self.chosen[place % self.chosen.len()];
            let Some(case) = self.set.cases().get(index) else { return };
            lock(&self.seen).sent += 1;
            let sent = self.send(case).await;
            batch.end(client, sent.as_ref().ok().copied());
            let mut seen = lock(&self.seen);
            match sent {
                Ok(took) => seen.first = seen.first.or(Some(took)),
                Err(reason) => {
                    seen.failed.entry(index).or_insert(reason);
                }
            }
        }
    }

    /// How long the answer took.
    async fn send(&self, case: &Case) -> Result<Duration, String> {
        let target = address(&self.endpoint, case.request())?;
        let bounds = Bounds { timeout: case.timeout(), answer_bytes_max: case.answer_bytes_max() };
        let kind = usize::from(case.request().is_grpc());
        let waiting = lock(&self.kept)[kind].pop();
        if let Some(mut line) = waiting {
            match line.ask(target, case.request(), &self.settings, bounds).await {
                Ok(answer) => return self.receive(case, line, &answer).await,
                Err(none) if none.took >= bounds.timeout => return Err(none.reason),
                // The server has closed it meanwhile, which is its right.
                Err(_closed) => {}
            }
        }
        let mut line = self.open(target, bounds).await?;
        match line.ask(target, case.request(), &self.settings, bounds).await {
            Ok(answer) => self.receive(case, line, &answer).await,
            Err(none) => Err(none.reason),
        }
    }

    async fn open(&self, target: &Target, bounds: Bounds) -> Result<Line, String> {
        Line::open(target, self.settings.timeouts.connect.min(bounds.timeout)).await
    }

    async fn receive(&self, case: &Case, mut line: Line, answer: &Answer) -> Result<Duration, String> {
        if let Some(error) = case.error_in(answer) {
            return Err(error);
        }
        // Some servers close without a word after a 5xx, even one that was asked for.
        if answer.status < 500 && line.is_kept().await {
            lock(&self.kept)[usize::from(case.request().is_grpc())].push(line);
        }
        Ok(answer.took)
    }
}

impl Batch {
    fn new(at_once: usize, size: usize, limit: Duration) -> Self {
        Self {
            size,
            enough: Deadline::now() + limit / WINDOWS_MIN,
            next: AtomicUsize::new(0),
            took: Mutex::default(),
            open: Mutex::new(vec![None; at_once]),
        }
    }

    /// The place of the client's next request in the window, if there is one. Each client has one, however late it is.
    fn begin(&self, client: usize, is_first: bool) -> Option<usize> {
        let place = self.next.fetch_add(1, Relaxed);
        if place >= self.size || (!is_first && Deadline::now() >= self.enough) {
            return None;
        }
        self.set_open(client, Some(Instant::now()));
        Some(place)
    }

    fn end(&self, client: usize, took: Option<Duration>) {
        self.set_open(client, None);
        lock(&self.took).extend(took);
    }

    fn set_open(&self, client: usize, since: Option<Instant>) {
        if let Some(open) = lock(&self.open).get_mut(client) {
            *open = since;
        }
    }

    fn window(&self, at_once: usize, ended: bool, before: Option<&Window>) -> Option<Window> {
        let took = std::mem::take(&mut *lock(&self.took));
        if ended {
            return Window::of(at_once, took);
        }
        let open: Vec<_> = lock(&self.open).iter().flatten().map(Instant::elapsed).collect();
        Window::of_a_part(at_once, self.size, took, &open, before)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// However slow the answers are, so many windows begin within the limit if there is a chance of it.
const WINDOWS_MIN: u32 = 10;
