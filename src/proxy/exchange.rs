//! One request and its answer: what it carries along, and the record it leaves when the last part of it is dropped.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    deadline,
    headers::{self, Seen},
    view::{LocalService, LocalSlot},
    worker::Worker,
};
use crate::{
    net::{ClientConn, moment},
    telemetry::{AccessRecord, FailureKind},
    upstream::{Expectation, Place, lease::Lease},
};

/// One client connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) conn: Arc<ClientConn>,
    /// Ready to be put into `X-Forwarded-For`.
    pub(super) address: HeaderValue,
}

/// A slot held by a request.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) service: Rc<LocalService>,
    pub(super) slot: Rc<LocalSlot>,
    pub(super) lease: Lease,
}

/// What the access log says of a request.
#[derive(Debug)]
struct Line {
    client: IpAddr,
    method: Method,
    path: Box<str>,
}

/// One request and its answer. Dropped when the last byte is out, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    pub(super) request_id: HeaderValue,
    pub(super) started: Instant,
    pub(super) is_grpc: bool,
    /// The client's own, in a gRPC call.
    call_limit: Option<Duration>,
    /// The peer's word about the client is taken.
    pub(super) peer_is_trusted: bool,
    /// The caller chose its slot.
    pub(super) chosen: Cell<bool>,
    /// Kept only for the access log.
    line: Option<Line>,
    /// The client waits to be asked for its body.
    pub(super) expectation: OnceCell<Arc<Expectation>>,
    held: RefCell<Option<Held>>,
    /// Its place among those that the slot takes at once, if it counts them.
    place: RefCell<Option<Place>>,
    status: Cell<u16>,
    failure: Cell<Option<FailureKind>>,
    replays: Cell<u32>,
    /// When the whole answer had been handed over.
    completed: Cell<Option<Instant>>,
}

impl Exchange {
    pub(super) fn new(
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        request: &http::request::Parts,
        seen: Seen,
        body: &Incoming,
        is_grpc: bool,
        started: Instant,
    ) -> Rc<Self> {
        client.conn.enter(request.version >= Version::HTTP_11, body.size_hint().exact());
        let peer = client.conn.peer;
        let peer_is_trusted = worker.trusts(peer);
        let line = worker.access.as_ref().map(|_| Line {
            client: client_of(worker, peer, peer_is_trusted, &request.headers),
            method: request.method.clone(),
            path: request.uri.path().into(),
        });
        let given = if seen.has(Seen::X_REQUEST_ID) { request.headers.get(headers::X_REQUEST_ID) } else { None };
        Rc::new(Self {
            request_id: worker.request_ids.take_over(given),
            worker: worker.clone(),
            client: client.clone(),
            started,
            is_grpc,
            call_limit: if is_grpc { deadline::of_call(&request.headers) } else { None },
            peer_is_trusted,
            chosen: Cell::new(false),
            line,
            expectation: OnceCell::new(),
            held: RefCell::new(None),
            place: RefCell::new(None),
            status: Cell::new(0),
            failure: Cell::new(None),
            replays: Cell::new(0),
            completed: Cell::new(None),
        })
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.client.conn.peer
    }

    /// The client's address, as far as trusted proxies tell it. To be asked before the forwarding fields are set.
    pub(super) fn client_address(&self, fields: &HeaderMap) -> IpAddr {
        client_of(&self.worker, self.peer(), self.peer_is_trusted, fields)
    }

    /// The request has a slot. An earlier one is given back.
    pub(super) fn hold(&self, held: Held) {
        if let Some(limit) = held.service.service.settings.timeouts.request {
            held.lease.limit(self.started + limit, FailureKind::RequestTimeout);
        }
        if let Some(limit) = self.call_limit {
            held.lease.limit(self.started + limit, FailureKind::DeadlineExceeded);
        }
        *self.held.borrow_mut() = Some(held);
    }

    /// The slot it has.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.borrow().clone()
    }

    /// Calls `look` with the slot it has, without cloning it.
    pub(super) fn with_held<T>(&self, look: impl FnOnce(&Held) -> T) -> Option<T> {
        self.held.borrow().as_ref().map(look)
    }

    pub(super) fn has_place(&self) -> bool {
        self.place.borrow().is_some()
    }

    /// The slot has let it in.
    pub(super) fn take_place(&self, place: Place) {
        self.place.replace(Some(place));
    }

    /// It is not for this slot any more.
    pub(super) fn give_place_back(&self) {
        self.place.take();
    }

    /// The head of the answer is known.
    pub(super) fn answered(&self, status: u16, from_upstream: bool) {
        self.status.set(status);
        self.client.conn.begin_answer();
        if from_upstream {
            let elapsed = moment().saturating_duration_since(self.started);
            self.with_held(|held| held.slot.table.metrics.first_byte(self.worker.index, elapsed));
        }
    }

    /// The final answer begins. True if the client still waits to be asked for its body, and will not be: nobody can
    /// tell what it sends next, so its connection has to close (RFC 9110 section 10.1.1).
    pub(super) fn leaves_body_unasked(&self) -> bool {
        let unasked = self.expectation.get().is_some_and(|expectation| expectation.answer());
        if unasked {
            self.client.conn.must_linger();
        }
        unasked
    }

    pub(super) fn fail(&self, kind: FailureKind) {
        self.failure.set(Some(kind));
    }

    pub(super) fn replayed(&self) {
        self.replays.set(self.replays.get() + 1);
        self.with_held(|held| held.slot.table.metrics.replayed(self.worker.index));
    }

    /// Another endpoint is asked, or would have been if the budget had allowed it.
    pub(super) fn retried(&self, afforded: bool) {
        self.with_held(|held| held.slot.table.metrics.retried(self.worker.index, afforded));
    }

    pub(super) fn replay_refused(&self) {
        self.with_held(|held| held.slot.table.metrics.replay_refused(self.worker.index));
    }

    /// The whole answer has been handed over.
    pub(super) fn completed(&self, now: Instant) {
        self.completed.set(Some(now));
    }

    /// The client did not see the end: it left, or it was left because it took nothing.
    fn how_it_left(&self) -> FailureKind {
        let stream_stalled = self.with_held(|held| held.lease.is_client_stalled()).unwrap_or(false);
        if stream_stalled || self.client.conn.has_stalled() {
            return FailureKind::ClientStalled;
        }
        FailureKind::ClientGone
    }

    /// What an HTTP/2 client breaks off costs the server work; too much of it costs the client its connection.
    fn count_reset(&self) {
        let reset = matches!(self.failure.get(), Some(FailureKind::ClientGone | FailureKind::ClientBody));
        let conn = &self.client.conn;
        if reset && conn.is_http2() && conn.note_reset() {
            self.worker.registry.unrouted(FailureKind::ResetFlood);
            self.worker.patrol.expel(conn);
            tracing::warn!(client = %conn.peer, "A client reset more HTTP/2 streams than limits.resets_max; its connection is ended.");
        }
    }

    fn record(&self) {
        if self.completed.get().is_none() && self.failure.get().is_none() {
            let kind = self.how_it_left();
            self.failure.set(Some(kind));
            if self.status.get() == 0 {
                self.status.set(kind.status());
            }
        }
        // The clock is read once for the end of an answer: by whoever saw it.
        let ended = self.completed.get().unwrap_or_else(Instant::now);
        let duration = ended.saturating_duration_since(self.started);
        let (index, failure, status) = (self.worker.index, self.failure.get(), self.status.get());
        let counted = self.with_held(|held| {
            let metrics = &held.slot.table.metrics;
            metrics.finished(index, status, duration);
            if let Some(kind) = failure {
                metrics.failed(index, kind);
            }
        });
        if let (None, Some(kind)) = (counted, failure) {
            self.worker.registry.unrouted(kind);
        }
        if let (Some(sink), Some(line)) = (&self.worker.access, &self.line) {
            let held = self.held.borrow();
            let held = held.as_ref();
            sink.record(&AccessRecord {
                client: line.client,
                method: line.method.as_str(),
                path: &line.path,
                status,
                request_id: self.request_id.to_str().unwrap_or_default(),
                service: held.map_or("", |held| held.service.service.settings.name.as_str()),
                slot: held.map_or("", |held| held.slot.table.slot.as_str()),
                version: held.map_or("", |held| held.slot.table.metrics.labels.version.as_str()),
                duration,
                replays: self.replays.get(),
                failure,
            });
        }
    }
}

/// The client itself, if a trusted proxy tells of it.
fn client_of(worker: &Worker, peer: IpAddr, peer_is_trusted: bool, fields: &HeaderMap) -> IpAddr {
    if !peer_is_trusted {
        return peer;
    }
    headers::client_behind(fields, peer, |address| worker.trusts(address))
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(expectation) = self.expectation.get() {
            expectation.give_up();
        }
        self.record();
        self.count_reset();
        self.client.conn.leave();
    }
}
