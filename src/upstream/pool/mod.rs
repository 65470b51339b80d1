//! Pools of connections: per worker, per endpoint object, per address.
//!
//! Owned over `hyper::client::conn`, because a replay is decided by three facts that ready-made clients hide: was the
//! connection reused, were bytes written, did an answer begin.

mod h1;
mod h2;
mod outage;
mod resets;
mod send;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::body::Incoming;

pub use send::SendError;

use outage::Outage;
use send::{Sending, Sent};

use super::{ConnectError, Endpoint, RequestBody, Target};
use crate::config::settings::UpstreamProtocol;

/// Bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// An idle connection is closed after this long; below the server's own idle time.
    pub idle_timeout: Duration,
    /// Idle connections kept.
    pub idle_max: usize,
    pub connect_timeout: Duration,
}

/// The connections of one worker to one address.
#[derive(Debug)]
pub struct Pool {
    place: Place,
    connect_timeout: Duration,
    idle_timeout: Duration,
    outage: Outage,
    kind: Kind,
}

/// Which of an endpoint's addresses.
#[derive(Debug)]
struct Place {
    endpoint: Arc<Endpoint>,
    is_grpc: bool,
}

#[derive(Debug)]
enum Kind {
    H1(Rc<h1::Idle>),
    H2(h2::Shared),
}

/// Which connection will do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A kept one: should it turn out to be dead, the request is sent again.
    Kept,
    /// A kept one that has been looked at once more, because the request may not be sent again.
    Checked,
    Fresh,
}

/// A connection that one request may use.
#[derive(Debug)]
pub enum Conn {
    H1(h1::Checkout),
    H2(h2::Stream),
}

impl Place {
    fn target(&self) -> Option<&Target> {
        if self.is_grpc { self.endpoint.own_grpc() } else { self.endpoint.http() }
    }
}

impl Pool {
    /// A pool for the endpoint's HTTP address or its own gRPC address, which must exist.
    pub(super) fn new(endpoint: Arc<Endpoint>, is_grpc: bool, limits: &PoolLimits) -> Self {
        let place = Place { endpoint, is_grpc };
        let kind = match place.target().map(Target::protocol) {
            Some(UpstreamProtocol::H2c) => Kind::H2(h2::Shared::default()),
            Some(UpstreamProtocol::Http1) | None => Kind::H1(h1::Idle::new(limits)),
        };
        Self {
            place,
            connect_timeout: limits.connect_timeout,
            idle_timeout: limits.idle_timeout,
            outage: Outage::default(),
            kind,
        }
    }

    pub fn speaks_http2(&self) -> bool {
        matches!(self.kind, Kind::H2(_))
    }

    /// Where the connections go; `None` cannot be for a pool that an endpoint made.
    pub fn target(&self) -> Option<&Target> {
        self.place.target()
    }

    /// A connection that is there already and needs no second look, which is what most requests get.
    pub fn kept(&self, choice: Choice, now: Instant) -> Option<Conn> {
        match (&self.kind, choice) {
            (Kind::H1(idle), Choice::Kept) => idle.take(now).map(Conn::H1),
            (Kind::H2(shared), Choice::Kept | Choice::Checked) => shared.take().map(Conn::H2),
            _ => None,
        }
    }

    /// A connection: an idle one if that will do, else a new one. For `wait` after the address began to refuse
    /// connections, one caller at a time tries.
    ///
    /// # Errors
    /// As [`ConnectError`] says; nothing was sent. Dropping the future gives the attempt up.
    pub async fn checkout(&self, choice: Choice, now: Instant, wait: Duration) -> Result<Conn, ConnectError> {
        if let Some(conn) = self.kept(choice, now) {
            return Ok(conn);
        }
        if choice == Choice::Checked
            && let Some(conn) = self.checked(now).await
        {
            return Ok(conn);
        }
        // Boxed: hardly a request has to wait for a connection, and each one would carry the room for it.
        Box::pin(self.connect(choice, wait)).await
    }

    /// A connection that is there already and was looked at once more.
    async fn checked(&self, now: Instant) -> Option<Conn> {
        let Kind::H1(idle) = &self.kind else { return None };
        while let Some(conn) = idle.take(now) {
            if conn.is_untouched().await {
                return Some(Conn::H1(conn));
            }
        }
        None
    }

    async fn connect(&self, choice: Choice, wait: Duration) -> Result<Conn, ConnectError> {
        match &self.kind {
            Kind::H1(idle) => self.unless_down(wait, self.connect_h1(idle)).await,
            Kind::H2(shared) => {
                let open = || self.unless_down(wait, self.connect_h2());
                shared.open(choice == Choice::Fresh, open).await.map(Conn::H2)
            }
        }
    }

    /// How many connections [`Pool::open_ahead`] would have to open for so many to be idle, which are never more than are
    /// kept. One of HTTP/2 is enough, and none to a server that has not shown that it keeps them.
    pub fn missing(&self, wanted: usize) -> usize {
        match &self.kind {
            Kind::H1(_) if !self.target().is_some_and(Target::keeps_connections) => 0,
            Kind::H1(idle) => wanted.min(idle.most()).saturating_sub(idle.count()),
            Kind::H2(shared) => usize::from(wanted > 0 && !shared.is_open()),
        }
    }

    /// Idle connections; of HTTP/2 none, since all requests share what there is.
    pub fn idle(&self) -> usize {
        match &self.kind {
            Kind::H1(idle) => idle.count(),
            Kind::H2(_) => 0,
        }
    }

    /// Opens a connection before there is a request for it. It counts as a kept one from then on: like any of these it may
    /// be closed by the server before its next use. What fails here is no outage; a request finds out for itself.
    ///
    /// # Errors
    /// As [`ConnectError`] says. Dropping the future gives the attempt up.
    pub async fn open_ahead(&self) -> Result<(), ConnectError> {
        match &self.kind {
            Kind::H1(idle) => {
                if let Conn::H1(conn) = self.connect_h1(idle).await? {
                    conn.keep_unused().await;
                }
            }
            Kind::H2(shared) => shared.open_ahead(|| self.connect_h2()).await?,
        }
        Ok(())
    }

    /// True while it makes sense to wait for the address to accept connections again.
    pub fn is_worth_waiting_for(&self, wait: Duration, now: Instant) -> bool {
        self.outage.is_younger_than(wait, now)
    }

    async fn unless_down<T>(
        &self,
        wait: Duration,
        connect: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let Some(attempt) = self.outage.attempt(Instant::now(), wait) else {
            return Err(ConnectError::Down { url: self.place.endpoint.settings.to_string() });
        };
        let connected = connect.await;
        match &connected {
            Ok(_) => attempt.succeeded(),
            Err(error) => attempt.failed(error, Instant::now()),
        }
        connected
    }

    async fn connect_h1(&self, idle: &Rc<h1::Idle>) -> Result<Conn, ConnectError> {
        let stream = self.open().await?;
        let url = || self.place.endpoint.settings.to_string();
        let conn =
            h1::handshake(stream, idle).await.map_err(|source| ConnectError::Handshake { url: url(), source })?;
        Ok(Conn::H1(conn))
    }

    async fn connect_h2(&self) -> Result<Rc<h2::Connection>, ConnectError> {
        let stream = self.open().await?;
        let url = || self.place.endpoint.settings.to_string();
        h2::handshake(stream).await.map_err(|source| ConnectError::Handshake { url: url(), source })
    }

    async fn open(&self) -> Result<super::UpstreamStream, ConnectError> {
        match self.place.target() {
            Some(target) => target.connect(self.connect_timeout).await,
            None => Err(ConnectError::Io {
                url: self.place.endpoint.settings.to_string(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "the endpoint has no such address"),
            }),
        }
    }

    /// Closes idle connections that are past their time.
    pub fn sweep(&self, now: Instant) {
        match &self.kind {
            Kind::H1(idle) => idle.sweep(now),
            Kind::H2(shared) => shared.sweep(now, self.idle_timeout),
        }
    }

    /// Closes every idle connection at once: the slot has been drained, and its server may wait for them to go.
    pub fn close_idle(&self) {
        match &self.kind {
            Kind::H1(idle) => idle.close(),
            Kind::H2(shared) => shared.close_idle(),
        }
    }
}

impl Conn {
    /// True if the connection served a request before.
    pub fn is_reused(&self) -> bool {
        match self {
            Conn::H1(conn) => conn.is_reused(),
            Conn::H2(stream) => stream.is_reused(),
        }
    }

    pub fn speaks_http2(&self) -> bool {
        matches!(self, Conn::H2(_))
    }

    /// Sends a request and waits for the head of its answer. Dropping the future cancels the request: on HTTP/1.1 by
    /// closing the connection, on HTTP/2 by RST_STREAM.
    ///
    /// # Errors
    /// With the three facts that decide a replay.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> {
        match self {
            Conn::H1(conn) => {
                let before = conn.facts().snapshot();
                let sent = Sent::H1 { sent: conn.send(request) };
                Sending { sent, facts: conn.facts(), before, has_wire_alone: true }
            }
            Conn::H2(stream) => {
                let before = stream.facts().snapshot();
                let sent = Sent::H2 { sent: stream.send(request) };
                Sending { sent, facts: stream.facts(), before, has_wire_alone: false }
            }
        }
    }

    /// The answer's last byte has come: the connection may serve another request. `keep_alive` is what the server said
    /// of its own patience.
    pub fn give_back(self, now: Instant, keep_alive: Option<Duration>) {
        if let Conn::H1(conn) = self {
            conn.give_back(now, keep_alive);
        }
    }
}
