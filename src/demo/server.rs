//! A small, real model server: HTTP/1.1 on a loopback port of its own, one classifier behind it.

use std::{io, net::SocketAddr, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{classifier::Version, routes};

/// Connections held at once; a demo needs a few dozen.
const CONNECTIONS_MAX: usize = 512;

/// Also how long an idle keep-alive connection is held; well above any proxy's own idle time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// Pause after a failed accept (no file descriptors left), which would otherwise spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running model server. Dropping it kills it like [`Server::stop`], only without waiting for the port to close.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    version: Version,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Binds a free port of 127.0.0.1 and serves until stopped.
    ///
    /// # Errors
    /// If no port could be bound.
    pub async fn start(version: Version) -> io::Result<Server> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, version));
        Ok(Server { addr, version, accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it runs.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Kills it as a power cut would: the port and every connection are closed at once, and what was still running is
    /// cut where it stands. That is what makes a premature stop visible in the demo's table.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // The join error says only that the task was aborted, which is what was asked for.
        let _aborted = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections live in this task's set, so that aborting the task ends them too.
async fn accept(listener: TcpListener, version: Version) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _peer)) => { connections.spawn(serve(stream, version)); }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// An error here is a client that went away or did not speak HTTP; neither is this server's concern.
async fn serve(stream: TcpStream, version: Version) {
    let _latency_only = stream.set_nodelay(true);
    let service = service_fn(move |request| routes::answer(version, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let _gone = http.serve_connection(TokioIo::new(stream), service).await;
}
