//! A whole admin server on a free port, over the real controller and without a data plane.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Listener, State, serve};
use crate::{
    config,
    control::{self, ControllerOptions, Handle},
    net::Secret,
    store::Store,
    table::{self, Reader},
    telemetry::Registry,
    upstream::{Order, Workers},
};

/// A service on two slots: `$UP` takes connections, `$DOWN` refuses them.
pub(super) const IRIS: &str = r#"
version = 1
[proxy]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[[service]]
name = "iris"
active = "blue"
[service.blue]
endpoints = ["http://$UP"]
version = "v1"
[service.green]
endpoints = ["http://$UP/"]
version = "v2"
"#;

/// How to start one.
pub(super) struct Start {
    pub(super) config: &'static str,
    pub(super) token: Option<&'static str>,
    pub(super) unix: bool,
}

impl Default for Start {
    fn default() -> Self {
        Self { config: IRIS, token: None, unix: false }
    }
}

/// A server that runs. Dropping it ends it.
pub(super) struct Running {
    /// `None` for a unix socket.
    pub(super) addr: Option<SocketAddr>,
    pub(super) socket: PathBuf,
    pub(super) config: PathBuf,
    pub(super) down: SocketAddr,
    pub(super) handle: Handle,
    pub(super) reader: Reader,
    /// Gets a word whenever the worker is told to cut.
    pub(super) cuts: mpsc::Receiver<()>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) served: JoinHandle<()>,
    _origins: (TcpListener, Socket),
    _dir: tempfile::TempDir,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) async fn iris() -> Running {
    Start::default().run().await
}

impl Start {
    pub(super) async fn run(self) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let origins = (TcpListener::bind("127.0.0.1:0").await.unwrap(), refusing());
        let up = origins.0.local_addr().unwrap();
        let down = origins.1.local_addr().unwrap().as_socket().unwrap();
        let config = dir.path().join("verdigris.toml");
        let text = self.config.replace("$UP", &up.to_string()).replace("$DOWN", &down.to_string());
        std::fs::write(&config, text).unwrap();
        let (handle, reader, registry, cuts) = control(&config).await;
        let socket = dir.path().join("admin.sock");
        let listener = if self.unix { unix(&socket) } else { Listener::Tcp(free_port().await) };
        let addr = listener.local_addr();
        let token = self.token.map(|token| Secret::new(token).unwrap());
        let state = State {
            handle: handle.clone(),
            metrics: Arc::new(move || registry.render()),
            token,
            tls: None,
            needs_certificate: false,
        };
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));
        let stop = Some(stop);
        Running { addr, socket, config, down, handle, reader, cuts, stop, served, _origins: origins, _dir: dir }
    }
}

async fn control(config: &std::path::Path) -> (Handle, Reader, Registry, mpsc::Receiver<()>) {
    let loaded = config::load(config).unwrap();
    let (store, recovered) = Store::open(&loaded.settings.state_dir).unwrap();
    let (publisher, reader) = table::pointer();
    let registry = Registry::new(1).unwrap();
    let (inbox, orders) = mpsc::channel(8);
    let (cut, cuts) = mpsc::channel(8);
    tokio::spawn(idle_worker(orders, cut));
    let options = ControllerOptions {
        config_path: config.to_owned(),
        loaded,
        store,
        recovered: recovered.state,
        publisher,
        workers: Workers::new([inbox]),
        registry: registry.clone(),
        tls: Default::default(),
        taps: Default::default(),
    };
    let (handle, _task) = control::start(options).await.unwrap();
    (handle, reader(), registry, cuts)
}

/// Knows nothing of leases, but answers.
async fn idle_worker(mut orders: mpsc::Receiver<Order>, cut: mpsc::Sender<()>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Oldest { tenures, reply } => drop(reply.send(vec![None; tenures.len()])),
            Order::Cut { reply, .. } => {
                let _ = reply.send(0);
                let _ = cut.try_send(());
            }
            // Without an answer nothing is opened, which is no fault.
            Order::CloseIdle(_) | Order::Connect { .. } | Order::Clients(_) => {}
        }
    }
}

async fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn unix(path: &std::path::Path) -> Listener {
    let listen = config::AdminListen::Unix(path.to_owned());
    super::bind(&config::AdminSettings { listen, token_file: None, tls: None }).unwrap()
}

/// A port that is ours and on which nobody listens.
fn refusing() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

impl Running {
    pub(super) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        self.call_with(method, path, &[], body).await
    }

    pub(super) async fn call_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let response = self.send(method, path, fields, body).await;
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply { status: head.status, headers: head.headers, text }
    }

    /// The answer's head, with its body to be read yet.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> hyper::Response<Incoming> {
        let host = self.addr.map_or("unix".to_owned(), |addr| addr.to_string());
        let mut request = Request::builder().method(method).uri(path);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", host);
        }
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body.into()).unwrap();
        match self.addr {
            Some(addr) => exchange(TcpStream::connect(addr).await.unwrap(), request).await,
            None => exchange(tokio::net::UnixStream::connect(&self.socket).await.unwrap(), request).await,
        }
    }

    /// Puts endpoints into a slot.
    pub(super) async fn put(&self, slot: &str, endpoint: SocketAddr) -> Reply {
        let body = format!("{{\"endpoints\":[\"http://{endpoint}\"],\"version\":\"v3\"}}");
        self.call("PUT", &format!("/v1/services/iris/slots/{slot}"), body).await
    }

    /// Tells the server to stop and waits until it has.
    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        // Less than the server's own grace: nothing may have to be cut.
        tokio::time::timeout(Duration::from_secs(4), self.served).await.unwrap().unwrap();
    }
}

async fn exchange<S>(stream: S, request: Request<Body>) -> hyper::Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// The next piece of a streamed body.
pub(super) async fn piece(body: &mut Incoming) -> Option<Bytes> {
    body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
}
