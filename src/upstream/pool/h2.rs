//! HTTP/2 connections (prior knowledge): many streams at a time on few connections.
//!
//! Windows: hyper's defaults let a stream of token-sized frames kill a whole connection, because each frame below 256
//! bytes is charged to a budget of half the connection window. The upstream is trusted, so its window is the largest
//! there is; memory stays bounded by the stream windows.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{ConnectError, RequestBody, resets::Resets, send::Answer};
use crate::upstream::{UpstreamStream, WireFacts, wire::Wire};

const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
const HEADER_LIST_BYTES_MAX: u32 = 256 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Above this many streams on the least loaded connection another is opened, up to `CONNECTIONS_MAX`.
const STREAMS_BEFORE_NEXT: usize = 64;
const CONNECTIONS_MAX: usize = 4;

/// The connections to one address.
#[derive(Default)]
pub(super) struct Shared {
    conns: RefCell<Vec<Rc<Connection>>>,
    /// Held while a connection is opened, so that a burst of requests opens one and not many.
    opening: tokio::sync::Mutex<()>,
}

/// A connection.
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    facts: Arc<WireFacts>,
    streams: Cell<usize>,
    used: Cell<bool>,
    /// When it was first seen without a stream.
    idle_since: Cell<Option<Instant>>,
}

/// One stream's place on a connection.
pub struct Stream {
    conn: Rc<Connection>,
    reused: bool,
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExec;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Shared {
    /// A place on a new connection, or on one that somebody else has opened meanwhile.
    pub(super) async fn open<O, F>(&self, fresh: bool, open: O) -> Result<Stream, ConnectError>
    where
        O: Fn() -> F,
        F: Future<Output = Result<Rc<Connection>, ConnectError>>,
    {
        let _opening = self.opening.lock().await;
        // Another request may have opened one while this one waited; for a replay that one is fresh enough too.
        if let Some(stream) = self.take().filter(|stream| !(fresh && stream.reused)) {
            return Ok(stream);
        }
        let conn = open().await?;
        self.conns.borrow_mut().push(conn.clone());
        Ok(Stream::new(conn))
    }

    pub(super) fn is_open(&self) -> bool {
        self.conns.borrow().iter().any(|conn| !conn.sender.is_closed())
    }

    /// Opens a connection if there is none. It counts as used: the server may close it before its first request.
    pub(super) async fn open_ahead<O, F>(&self, open: O) -> Result<(), ConnectError>
    where
        O: Fn() -> F,
        F: Future<Output = Result<Rc<Connection>, ConnectError>>,
    {
        let _opening = self.opening.lock().await;
        if !self.is_open() {
            let conn = open().await?;
            conn.used.set(true);
            self.conns.borrow_mut().push(conn);
        }
        Ok(())
    }

    /// A place on a connection, unless there is none or all are busy.
    pub(super) fn take(&self) -> Option<Stream> {
        let mut conns = self.conns.borrow_mut();
        conns.retain(|conn| !conn.sender.is_closed());
        let least = conns.iter().min_by_key(|conn| conn.streams.get())?;
        let room = least.streams.get() < STREAMS_BEFORE_NEXT;
        (room || conns.len() >= CONNECTIONS_MAX).then(|| Stream::new(least.clone()))
    }

    /// Closes connections that have had no stream for this long.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        self.conns.borrow_mut().retain(|conn| !conn.sender.is_closed() && conn.idle_for(now) < idle_timeout);
    }

    pub(super) fn close_idle(&self) {
        self.conns.borrow_mut().retain(|conn| conn.streams.get() > 0);
    }
}

impl Connection {
    fn idle_for(&self, now: Instant) -> Duration {
        if self.streams.get() > 0 {
            return Duration::ZERO;
        }
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        now.saturating_duration_since(since)
    }
}

/// Speaks HTTP/2 on a new stream.
pub(super) async fn handshake(stream: UpstreamStream) -> hyper::Result<Rc<Connection>> {
    let (wire, facts) = Wire::new(stream);
    let (sender, connection) = Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(Resets::new(wire)))
        .await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "An upstream HTTP/2 connection ended with an error.");
        }
    });
    Ok(Rc::new(Connection {
        sender,
        facts,
        streams: Cell::new(0),
        used: Cell::new(false),
        idle_since: Cell::new(None),
    }))
}

impl Stream {
    fn new(conn: Rc<Connection>) -> Self {
        conn.streams.set(conn.streams.get() + 1);
        conn.idle_since.set(None);
        let reused = conn.used.replace(true);
        Self { conn, reused }
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn facts(&self) -> &WireFacts {
        &self.conn.facts
    }

    /// Gives the request to the connection at once.
    pub(super) fn send(&self, request: Request<RequestBody>) -> impl Answer + use<> {
        self.conn.sender.clone().try_send_request(request)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.conn.streams.set(self.conn.streams.get() - 1);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("conns", &self.conns.borrow().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("streams", &self.streams.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("reused", &self.reused).finish_non_exhaustive()
    }
}
