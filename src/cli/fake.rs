//! A stand-in for the admin API: gives the answers that a test lays down, in their order, and notes what was asked. What a
//! command reads only to show progress, its events and drains, is answered beside that.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime,
    sync::{mpsc, oneshot},
};

use crate::{
    admin::Frames,
    api::{DrainStatus, Event},
};

/// An answer to give.
pub(super) struct Canned {
    status: u16,
    body: String,
    /// What to say before to those who listen to events.
    events: Vec<Event>,
    /// Ends the streams of events then.
    breaks: bool,
    /// So many looks at a drain are waited for then.
    looks: usize,
    /// So many times the events must have been asked for then.
    listeners: usize,
}

impl Canned {
    /// Says these events first.
    pub(super) fn after(mut self, events: &[Event]) -> Self {
        self.events = events.to_vec();
        self
    }

    /// Also breaks the streams of events off.
    pub(super) fn breaking(mut self) -> Self {
        self.breaks = true;
        self
    }

    /// Also waits until the events were asked for so often.
    pub(super) fn after_listeners(mut self, listeners: usize) -> Self {
        self.listeners = listeners;
        self
    }

    /// Also waits until the drain was looked at so often.
    pub(super) fn after_looks(mut self, looks: usize) -> Self {
        self.looks = looks;
        self
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Method and path: `POST /v1/services/iris/switch`.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

pub(super) struct FakeAdmin {
    /// What `--admin` takes.
    pub(super) admin: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Canned>>,
    asked: Mutex<Vec<Asked>>,
    /// Who asked for events, and where they are sent.
    listened: Mutex<Vec<Asked>>,
    listeners: Mutex<Vec<mpsc::Sender<Bytes>>>,
    deaf: AtomicBool,
    /// If there are any, a plain look at a drain gets the next of these; the last one again and again.
    drains: Mutex<VecDeque<DrainStatus>>,
    looks: AtomicUsize,
}

/// An answer with this document.
pub(super) fn json(status: u16, document: &impl Serialize) -> Canned {
    text(status, &serde_json::to_string(document).unwrap())
}

/// An answer that is not from an admin API.
pub(super) fn text(status: u16, body: &str) -> Canned {
    Canned { status, body: body.to_owned(), events: Vec::new(), breaks: false, looks: 0, listeners: 0 }
}

impl FakeAdmin {
    pub(super) fn start(answers: Vec<Canned>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let admin = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(admin, answers, async move |shared: Arc<Shared>| {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                answer(listener.accept().await.unwrap().0, shared.clone());
            }
        })
    }

    pub(super) fn start_unix(path: &Path, answers: Vec<Canned>) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let admin = format!("unix:{}", path.display());
        Self::serve(admin, answers, async move |shared: Arc<Shared>| {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            loop {
                answer(listener.accept().await.unwrap().0, shared.clone());
            }
        })
    }

    /// Runs the accept loop on a thread of its own until this value is dropped.
    fn serve<A>(admin: String, answers: Vec<Canned>, accept: A) -> Self
    where
        A: AsyncFnOnce(Arc<Shared>) + Send + 'static,
    {
        let shared = Arc::new(Shared { answers: Mutex::new(answers.into()), ..Shared::default() });
        let (stop, stopped) = oneshot::channel();
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(for_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { admin, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on there are no events to be had.
    pub(super) fn deaf(self) -> Self {
        self.shared.deaf.store(true, SeqCst);
        self
    }

    /// What drains are seen one after the other.
    pub(super) fn draining(self, drains: &[DrainStatus]) -> Self {
        *self.shared.drains.lock().unwrap() = drains.to_vec().into();
        self
    }

    /// Who asked for events so far.
    pub(super) fn listened(&self) -> Vec<Asked> {
        self.shared.listened.lock().unwrap().clone()
    }

    /// Everything else that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Methods and paths of everything that was asked so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for FakeAdmin {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A failure on that thread has already failed the test by what it did not answer.
            let _ = thread.join();
        }
    }
}

fn answer<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, shared: Arc<Shared>) {
    tokio::spawn(async move {
        let service = service_fn(|request| note(request, shared.clone()));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn note(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Frames>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    let asked = Asked { line, headers: parts.headers, body };
    if asked.line == "GET /v1/events" {
        return Ok(listen(asked, &shared));
    }
    if let Some(drain) = drain(&asked.line, &shared) {
        return Ok(whole(200, drain));
    }
    shared.asked.lock().unwrap().push(asked);
    let canned = shared.answers.lock().unwrap().pop_front().unwrap_or_else(|| text(500, "no answer was laid down"));
    for event in &canned.events {
        let data = serde_json::to_string(event).unwrap();
        tell(&shared, &format!("event: {}\ndata: {data}\n\n", event.kind()));
    }
    until(|| shared.listeners.lock().unwrap().iter().all(|listener| listener.capacity() == FRAMES)).await;
    if canned.breaks {
        shared.listeners.lock().unwrap().clear();
    }
    until(|| shared.looks.load(SeqCst) >= canned.looks).await;
    until(|| shared.listened.lock().unwrap().len() >= canned.listeners).await;
    Ok(whole(canned.status, canned.body))
}

/// Looks until it is so; a command that is broken must not hang for ever.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn listen(asked: Asked, shared: &Shared) -> Response<Frames> {
    shared.listened.lock().unwrap().push(asked);
    if shared.deaf.load(SeqCst) {
        return whole(404, "there are no events here".to_owned());
    }
    let (listener, frames) = mpsc::channel(FRAMES);
    shared.listeners.lock().unwrap().push(listener);
    tell(shared, "retry: 2000\n: events follow\n\n");
    Response::new(Frames(frames))
}

fn tell(shared: &Shared, text: &str) {
    shared
        .listeners
        .lock()
        .unwrap()
        .retain(|listener| listener.try_send(Bytes::copy_from_slice(text.as_bytes())).is_ok());
}

fn drain(line: &str, shared: &Shared) -> Option<String> {
    let mut drains = shared.drains.lock().unwrap();
    let first = drains.front().filter(|_| line.starts_with("GET ") && line.ends_with("/drain"))?;
    let document = serde_json::to_string(first).unwrap();
    if drains.len() > 1 {
        drains.pop_front();
    }
    shared.looks.fetch_add(1, SeqCst);
    Some(document)
}

fn whole(status: u16, body: String) -> Response<Frames> {
    let (sender, frames) = mpsc::channel(FRAMES);
    sender.try_send(body.into()).unwrap();
    Response::builder().status(status).body(Frames(frames)).unwrap()
}

/// More than any test says at once.
const FRAMES: usize = 64;
