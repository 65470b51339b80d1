//! Sends a request to an endpoint of its slot, and again where that is permitted.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, Uri, Version, header, request::Parts};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    answer::Failure,
    assign,
    body::{AnswerBody, RelayParts},
    exchange::{Exchange, Held},
    headers, interim, replay, tunnel,
};
use crate::{
    ids::EndpointId,
    net,
    telemetry::FailureKind,
    upstream::{
        Conn, InFlight, LocalEndpoint, Pool, RequestBody, SendError, SharedBody,
        lease::{Interrupt, Lease, LeaseKind},
    },
};

/// Attempts for one request in all; what was surely not processed may be sent again until then.
const ATTEMPTS_MAX: u32 = 4;

/// Sends the request upstream and gives back the answer, its body still running.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    mut head: Parts,
    body: Incoming,
    upgrade: Option<HeaderValue>,
) -> Result<Response<AnswerBody>, Failure> {
    let on_upgrade = head.extensions.remove::<OnUpgrade>().filter(|_| upgrade.is_some());
    if let Some(protocol) = &upgrade {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol.clone());
    }
    let mut courier = Courier {
        exchange,
        may_replay: false,
        body: None,
        head: Some(head),
        on_upgrade,
        attempts: 0,
        replayed: false,
        fresh: false,
        avoid: None,
    };
    courier.take_body(body);
    courier.take_expectation();
    courier.run().await
}

/// One request's way upstream.
struct Courier<'a> {
    exchange: &'a Rc<Exchange>,
    /// `None` while it is out with an attempt that kept no copy.
    head: Option<Parts>,
    /// `None` if the request has no body.
    body: Option<SharedBody>,
    on_upgrade: Option<OnUpgrade>,
    /// The service's policy permits sending it again.
    may_replay: bool,
    attempts: u32,
    replayed: bool,
    /// The next attempt needs a new connection.
    fresh: bool,
    avoid: Option<EndpointId>,
}

/// The head of an answer, and where it came from.
struct Arrived {
    answer: Response<Incoming>,
    conn: Conn,
    in_flight: InFlight,
}

impl Courier<'_> {
    /// Decides on replay and wraps the body accordingly.
    fn take_body(&mut self, body: Incoming) {
        let Some(head) = &self.head else { return };
        let policy = self.exchange.with_held(|held| {
            let settings = &held.service.service.settings;
            let permitted = replay::is_permitted(settings.replay, &head.method, head.uri.path(), &head.headers);
            (permitted, settings.replay_buffer)
        });
        let Some((may_replay, replay_buffer)) = policy else { return };
        self.may_replay = may_replay;
        if body.is_end_stream() {
            return;
        }
        // HTTP/2 upstreams may refuse a stream and say that they did nothing: any method may be sent again then.
        let may_keep = self.may_replay || self.exchange.is_grpc;
        let kept_max = if may_keep { replay_buffer } else { 0 };
        self.body = Some(SharedBody::new(body, kept_max, &self.exchange.worker.replay_budget));
    }

    /// `Expect: 100-continue` goes to the server if there is a body to wait for and a client to be told; else it says
    /// nothing (RFC 9110 section 10.1.1). Other expectations are the server's to judge.
    fn take_expectation(&mut self) {
        let Some(head) = &mut self.head else { return };
        let expects = head.headers.get(header::EXPECT);
        if !expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return;
        }
        match &self.body {
            Some(body) if head.version == Version::HTTP_11 => {
                let expectation = self.exchange.expectation.get_or_init(Arc::default);
                body.hold_back(expectation.clone());
            }
            Some(_) | None => drop(head.headers.remove(header::EXPECT)),
        }
    }

    async fn run(&mut self) -> Result<Response<AnswerBody>, Failure> {
        loop {
            self.attempts += 1;
            let held = self.hold()?;
            let local = self.pick(&held)?.clone();
            match self.attempt(&held, &local).await? {
                Some(arrived) => return self.arrive(&held, arrived),
                None => self.fresh = true,
            }
        }
    }

    /// The slot that the request has; a new one if a switch has left it since and the request must be sent anew (E15).
    fn hold(&self) -> Result<Held, Failure> {
        let held = self.exchange.held().ok_or_else(|| internal("the request has no slot"))?;
        if self.attempts == 1 || !held.lease.is_retired() {
            return Ok(held);
        }
        let head = self.head.as_ref().ok_or_else(|| internal("the request is out"))?;
        let renewed = assign::assign(&self.exchange.worker, head, Instant::now())?;
        self.exchange.hold(renewed.clone());
        Ok(renewed)
    }

    fn pick<'h>(&self, held: &'h Held) -> Result<&'h Rc<LocalEndpoint>, Failure> {
        let endpoints = &held.slot.endpoints;
        self.exchange.worker.balancer.pick(endpoints, self.avoid).ok_or_else(|| {
            let service = &held.service.service.settings.name;
            Failure::new(
                FailureKind::SlotEmpty,
                format!("slot {} of service {service} has no endpoint", held.slot.table.slot),
            )
        })
    }

    fn pool<'l>(&self, local: &'l LocalEndpoint) -> Result<&'l Pool, Failure> {
        if self.exchange.is_grpc {
            return local.grpc().ok_or_else(|| {
                let message = "the endpoint has no gRPC address; give it one: { http = \"…\", grpc = \"h2c://…\" }";
                Failure::new(FailureKind::NoGrpcAddress, message)
            });
        }
        local
            .http
            .as_ref()
            .ok_or_else(|| Failure::new(FailureKind::NoHttpAddress, "the endpoint has only a gRPC address"))
    }

    /// One attempt. `None`: it failed, and another is permitted.
    async fn attempt(&mut self, held: &Held, local: &Rc<LocalEndpoint>) -> Result<Option<Arrived>, Failure> {
        let in_flight = local.enter();
        let pool = self.pool(local)?;
        let checkout = pool.checkout(self.fresh, Instant::now());
        let mut conn = match until_interrupt(&held.lease, checkout).await.map_err(interrupted)? {
            Ok(conn) => conn,
            Err(error) => {
                self.exchange.worker.complain(local, &error);
                if self.may_go_elsewhere(held, local) {
                    return Ok(None);
                }
                return Err(Failure::new(error.kind(), "no connection to an endpoint of the slot"));
            }
        };
        let reused = conn.is_reused();
        let request = self.request(held, pool, &conn)?;
        match until_interrupt(&held.lease, conn.send(request)).await.map_err(interrupted)? {
            Ok(answer) => Ok(Some(Arrived { answer, conn, in_flight })),
            Err(error) => {
                self.after_failure(error, reused, local)?;
                Ok(None)
            }
        }
    }

    /// Nothing was sent: another endpoint may take it, each once.
    fn may_go_elsewhere(&mut self, held: &Held, local: &LocalEndpoint) -> bool {
        self.avoid = Some(local.endpoint.id);
        held.lease.is_retired() && self.attempts < ATTEMPTS_MAX
            || (self.attempts as usize) < held.slot.endpoints.len().min(ATTEMPTS_MAX as usize)
    }

    /// The request as this connection is to have it. A copy of the head stays here if it may be needed again.
    fn request(&mut self, held: &Held, pool: &Pool, conn: &Conn) -> Result<Request<RequestBody>, Failure> {
        let head = if self.may_be_needed_again(conn) { self.head.as_mut().map(lend) } else { self.head.take() };
        let mut head = head.ok_or_else(|| internal("the request is out"))?;
        let expectation = self.exchange.expectation.get();
        if conn.speaks_http2() {
            let default = pool.target().map_or("localhost", |target| target.authority.as_str());
            to_http2(&mut head, default)?;
            // hyper does not tell what an HTTP/2 server says before its answer.
            if let Some(expectation) = expectation {
                head.headers.remove(header::EXPECT);
                expectation.fulfil();
            }
        } else {
            head.version = Version::HTTP_11;
            if !head.headers.contains_key(header::HOST)
                && let Some(target) = pool.target()
            {
                let host =
                    HeaderValue::from_str(&target.authority).map_err(|_invalid| internal("the endpoint's name"))?;
                head.headers.insert(header::HOST, host);
            }
        }
        if self.body.is_some() && !conn.speaks_http2() && !head.headers.contains_key(header::CONTENT_LENGTH) {
            // hyper leaves out the body of a GET or HEAD that does not say how it is framed.
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let first_byte = held.service.service.settings.timeouts.first_byte;
        let body = match &self.body {
            Some(body) => body.attempt(held.lease.clone(), first_byte),
            None => {
                held.lease.set_deadline(first_byte.map(|limit| Instant::now() + limit));
                RequestBody::Empty
            }
        };
        let mut request = Request::from_parts(head, body);
        if self.exchange.client.conn.takes_interim() && !conn.speaks_http2() {
            interim::pass_on(&mut request, &self.exchange.client.conn, expectation.cloned());
        }
        Ok(request)
    }

    /// True if a failure on this connection may be followed by another attempt. What hyper never sent, it gives back.
    fn may_be_needed_again(&self, conn: &Conn) -> bool {
        conn.speaks_http2() || (conn.is_reused() && self.may_replay)
    }

    /// Ok if the request may be sent again on a fresh connection.
    fn after_failure(&mut self, mut error: SendError, reused: bool, local: &LocalEndpoint) -> Result<(), Failure> {
        if self.body.as_ref().is_some_and(SharedBody::client_failed) {
            return Err(Failure::new(FailureKind::ClientBody, "the request body broke off or was malformed"));
        }
        if let Some(unsent) = error.unsent.take() {
            self.head.get_or_insert_with(|| unsent.into_parts().0);
        }
        let unprocessed = error.is_surely_unprocessed();
        let stale = reused && !error.answer_began;
        let whole = self.head.is_some() && self.body.as_ref().is_none_or(SharedBody::is_whole);
        let permitted = unprocessed || (stale && self.may_replay && !self.replayed);
        if whole && permitted && self.attempts < ATTEMPTS_MAX {
            self.replayed |= !unprocessed;
            self.exchange.replayed();
            return Ok(());
        }
        if stale {
            self.exchange.replay_refused();
        }
        self.exchange.worker.complain(local, &error);
        let message = match error.kind() {
            FailureKind::UpstreamMalformed => "what the endpoint sent is not an HTTP answer",
            _ => "the endpoint closed the connection without an answer",
        };
        Err(Failure::new(error.kind(), message))
    }

    /// The head of the answer is here: nothing can be replayed from now on.
    fn arrive(&mut self, held: &Held, arrived: Arrived) -> Result<Response<AnswerBody>, Failure> {
        held.lease.set_deadline(None);
        if let Some(body) = &self.body {
            body.stop_keeping();
        }
        let Arrived { mut answer, conn, in_flight } = arrived;
        if answer.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = self.on_upgrade.take() else {
                return Err(Failure::new(FailureKind::UpstreamMalformed, "the endpoint changed protocols unasked"));
            };
            let upstream = hyper::upgrade::on(&mut answer);
            return Ok(tunnel::open(self.exchange, held, answer.map(drop), client, upstream, in_flight));
        }
        let (mut head, incoming) = answer.into_parts();
        let keep_alive = headers::keep_alive_timeout(&head.headers);
        let closes = headers::says_close(&head.headers);
        // Transfer-Encoding overrides, and only one of the two may be passed on (RFC 9112 section 6.3).
        let ambiguous = head.headers.contains_key(header::TRANSFER_ENCODING)
            && head.headers.remove(header::CONTENT_LENGTH).is_some();
        headers::end_hop(&mut head.headers);
        headers::disown(&mut head.headers);
        headers::mark(&mut head.headers, self.exchange);
        head.version = Version::HTTP_11;
        self.classify(held, &head.headers);
        self.exchange.answered(head.status.as_u16(), true);
        let unasked = self.exchange.leaves_body_unasked();
        if unasked || self.leaves_body_unread(closes) {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // uvicorn closes silently after a 500: the next request must not find that out.
        let reusable = !head.status.is_server_error() && !ambiguous && !unasked;
        held.lease.set_abort(net::Abort::current());
        let body = AnswerBody::relay(RelayParts {
            incoming,
            exchange: self.exchange.clone(),
            conn,
            in_flight,
            reusable,
            keep_alive,
            watch_messages: self.exchange.is_grpc,
        });
        Ok(Response::from_parts(head, body))
    }

    /// An early answer: the rest of the body may come while nobody reads it, and must not erase the answer. If the
    /// server `closes`, nobody will read it at all, and the client is told that its connection ends too.
    fn leaves_body_unread(&self, closes: bool) -> bool {
        let is_early = self.body.as_ref().is_some_and(|body| !body.has_ended());
        if is_early {
            self.exchange.client.conn.must_linger();
        }
        is_early && closes && !self.exchange.is_grpc
    }

    /// Tells streams from single answers, for whoever waits for a drain.
    fn classify(&self, held: &Held, fields: &http::HeaderMap) {
        let request_open = self.exchange.is_grpc && self.body.as_ref().is_some_and(|body| !body.has_ended());
        let kind = fields.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let streams =
            [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl", b"multipart/x-mixed-replace"];
        if request_open || streams.iter().any(|stream| kind.starts_with(stream)) {
            held.lease.classify(LeaseKind::Stream);
        }
    }
}

/// Gives the head away and keeps a copy without its extensions: they hold the case of the header names, which costs as
/// much to copy as the names themselves, and a replay can do without.
fn lend(head: &mut Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method.clone_from(&head.method);
    copy.uri.clone_from(&head.uri);
    copy.version = head.version;
    copy.headers.clone_from(&head.headers);
    std::mem::replace(head, copy)
}

/// HTTP/2's form: the authority in the target, no `Host`.
fn to_http2(head: &mut Parts, default_authority: &str) -> Result<(), Failure> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(default_authority);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build();
    head.uri =
        uri.map_err(|_invalid| Failure::new(FailureKind::BadRequest, "the request target cannot be sent over HTTP/2"))?;
    head.version = Version::HTTP_2;
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::UPGRADE);
    Ok(())
}

/// The future's output, unless the lease's holder has to stop first.
async fn until_interrupt<F: Future>(lease: &Lease, future: F) -> Result<F::Output, Interrupt> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => lease.poll_interrupt(cx).map(Err),
    })
    .await
}

fn interrupted(interrupt: Interrupt) -> Failure {
    match interrupt {
        Interrupt::Cut => Failure::new(FailureKind::DrainCut, "the slot's drain deadline is over"),
        Interrupt::TimedOut => Failure::new(FailureKind::UpstreamTimeout, "no answer within timeouts.first_byte"),
    }
}

fn internal(what: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("a defect of the proxy: {what}"))
}

/// Shortest time between two complaints about endpoints in a worker's log.
pub(super) const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);
