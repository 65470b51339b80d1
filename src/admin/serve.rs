//! Accepts connections and serves HTTP/1.1 on them until told to stop.

use std::{fmt::Display, future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Listener, State,
    actor::Peer,
    admission::Admission,
    router::router,
    secure::shake_hands,
    shared::{Shared, Stopping},
};
use crate::net::tls::ServerTls;

/// Serves the admin API until `shutdown` resolves. Then it accepts no more, ends event streams and waits, answers what
/// else is under way for up to five seconds, and returns. Dropping the future cuts every connection.
pub async fn serve(listener: Listener, state: State, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = watch::channel(false);
    let stopping = Stopping(stopping);
    let address = listener.local_addr();
    let admission = Admission::new(state.token, address, state.tls.is_some(), state.needs_certificate);
    let shared = Shared { handle: state.handle, metrics: state.metrics, admission, stopping: stopping.clone() };
    let router = router(Arc::new(shared));
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept_all(&listener, state.tls.as_ref(), &router, &stopping, &mut connections) => {}
        () = shutdown => {}
    }
    drop(listener);
    stop.send_replace(true);
    let emptied = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, emptied).await.is_err() {
        tracing::warn!(connections = connections.len(), "Admin connections were cut: they did not end in time.");
    }
}

async fn accept_all(
    listener: &Listener,
    tls: Option<&ServerTls>,
    router: &Router,
    stopping: &Stopping,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so that the loop ends only with its future.
    while let Ok(place) = places.clone().acquire_owned().await {
        match accept(listener, tls, router, stopping, place).await {
            Ok(connection) => drop(connections.spawn(connection)),
            Err(error) => {
                tracing::error!(%error, "An admin connection was not accepted.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn accept(
    listener: &Listener,
    tls: Option<&ServerTls>,
    router: &Router,
    stopping: &Stopping,
    place: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    let (router, stopping) = (router.clone(), stopping.clone());
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            // Events are small and must not wait for one another. If it fails, the caller is gone already.
            drop(stream.set_nodelay(true));
            let Some(tls) = tls.cloned() else {
                return Ok(Box::pin(connection(stream, Peer::Ip(address.ip()), router, stopping, place)));
            };
            Ok(Box::pin(async move {
                if let Some((stream, peer)) = shake_hands(stream, address.ip(), &tls).await {
                    connection(stream, peer, router, stopping, place).await;
                }
            }))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let peer = stream.peer_cred().map_or(Peer::Unknown, |credentials| Peer::Uid(credentials.uid()));
            Ok(Box::pin(connection(stream, peer, router, stopping, place)))
        }
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, stopping: Stopping, _place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(peer.clone())));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stopping.begun() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        debug_ended(peer, &error);
    }
}

fn debug_ended(peer: impl Display, error: &hyper::Error) {
    tracing::debug!(%peer, %error, "An admin connection ended early.");
}

/// Also how long a connection may stay without a call.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A leak of connections here must not take the descriptors that traffic needs.
const CONNECTIONS_MAX: usize = 256;
/// After a failed `accept`, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
