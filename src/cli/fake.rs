//! A stand-in for the admin API: gives the answers that a test lays down, in their order, and notes what was asked.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime,
    sync::oneshot,
};

/// An answer to give.
pub(super) struct Canned {
    status: u16,
    body: String,
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

struct Shared {
    answers: Mutex<VecDeque<Canned>>,
    asked: Mutex<Vec<Asked>>,
}

/// An answer with this document.
pub(super) fn json(status: u16, document: &impl Serialize) -> Canned {
    Canned { status, body: serde_json::to_string(document).unwrap() }
}

/// An answer that is not from an admin API.
pub(super) fn text(status: u16, body: &str) -> Canned {
    Canned { status, body: body.to_owned() }
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
        let shared = Arc::new(Shared { answers: Mutex::new(answers.into()), asked: Mutex::default() });
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

    /// Everything that was asked so far.
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

async fn note(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    shared.asked.lock().unwrap().push(Asked { line, headers: parts.headers, body });
    let canned = shared.answers.lock().unwrap().pop_front().unwrap_or_else(|| text(500, "no answer was laid down"));
    Ok(Response::builder().status(canned.status).body(Full::new(canned.body.into())).unwrap())
}
