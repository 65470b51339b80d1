//! The admin server: its routes, and its life.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, connect_info::Connected},
    http::HeaderMap,
    middleware::{self, Next},
    response::Response,
    routing::{get, post, put},
    serve::IncomingStream,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use super::{Listener, Secret, calls, events, guard, openapi, page, probes};
use crate::control::Handle;

/// Bytes a call's body may have.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Characters of an actor's name that are taken over.
const ACTOR_LENGTH_MAX: usize = 64;

/// What the server needs.
pub struct State {
    pub handle: Handle,
    /// Renders the metrics page.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub token: Option<Secret>,
}

/// What every call sees.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) token: Option<Secret>,
    pub(super) is_tcp: bool,
    /// True once the server is to end; long answers end then.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Who is at the other end of the connection.
#[derive(Clone, Debug)]
pub(super) struct Peer(String);

impl Peer {
    /// Who asked, for the journal: the name that the caller gives itself, and where it called from.
    pub(super) fn actor(&self, headers: &HeaderMap) -> String {
        let named = headers.get("x-verdigris-actor").and_then(|value| value.to_str().ok()).map(|name| {
            name.chars().filter(|character| matches!(character, ' '..='~')).take(ACTOR_LENGTH_MAX).collect::<String>()
        });
        match named.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => format!("{name} ({})", self.0),
            Some(_) | None => format!("api {}", self.0),
        }
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        let address: &SocketAddr = stream.remote_addr();
        Peer(address.ip().to_string())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let user = stream.io().peer_cred().map(|credentials| credentials.uid());
        Peer(user.map_or_else(|_| "unix".to_owned(), |uid| format!("unix uid {uid}")))
    }
}

/// Serves until `shutdown` is ready; calls that run are finished, streams of events end.
pub async fn serve(listener: Listener, state: State, shutdown: impl Future<Output = ()> + Send + 'static) {
    let (stop, stopping) = watch::channel(false);
    let shared = Shared {
        handle: state.handle,
        metrics: state.metrics,
        token: state.token,
        is_tcp: matches!(listener, Listener::Tcp(..)),
        stopping,
    };
    let service = router(shared).into_make_service_with_connect_info::<Peer>();
    let ended = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    let result = match listener {
        Listener::Tcp(listener, _) => match TcpListener::from_std(listener) {
            Ok(listener) => axum::serve(listener, service).with_graceful_shutdown(ended).await,
            Err(error) => Err(error),
        },
        Listener::Unix(listener, _) => match UnixListener::from_std(listener) {
            Ok(listener) => axum::serve(listener, service).with_graceful_shutdown(ended).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        tracing::error!(%error, "The admin server has ended.");
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/services", get(calls::services))
        .route("/v1/services/{service}", get(calls::service))
        .route("/v1/services/{service}/switch", post(calls::switch))
        .route("/v1/services/{service}/rollback", post(calls::rollback))
        .route("/v1/services/{service}/slots/{slot}", put(calls::replace_slot))
        .route("/v1/services/{service}/slots/{slot}/test", post(calls::test))
        .route("/v1/services/{service}/slots/{slot}/drain", get(calls::drain).post(calls::begin_drain))
        .route("/v1/services/{service}/history", get(calls::history))
        .route("/v1/events", get(events::events))
        .route("/events", get(events::events))
        .route("/v1/config/reload", post(calls::reload))
        .route("/metrics", get(probes::metrics))
        .route("/live", get(probes::live))
        .route("/ready", get(probes::ready))
        .route("/openapi.json", get(openapi::serve))
        .merge(page::routes())
        .fallback(calls::not_found)
        .method_not_allowed_fallback(calls::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::check))
        .layer(middleware::from_fn(note_peer))
        .with_state(shared)
}

async fn note_peer(ConnectInfo(peer): ConnectInfo<Peer>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(peer);
    next.run(request).await
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("handle", &self.handle).finish_non_exhaustive()
    }
}
