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
    arrival::{self, Reuse},
    assign,
    body::{AnswerBody, RelayParts},
    exchange::{Exchange, Held},
    headers, interim, outcome, replay, retry, rewrite, tunnel, turn,
};
use crate::{
    ids::EndpointId,
    net,
    telemetry::FailureKind,
    upstream::{
        BodyBounds, Choice, Conn, InFlight, LocalEndpoint, Pool, RequestBody, SendError, SharedBody,
        lease::{Interrupt, Lease, LeaseKind},
    },
};

/// Sends the request upstream and gives back the answer, its body still running.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    mut head: Parts,
    body: Incoming,
    upgrade: Option<HeaderValue>,
) -> Result<Response<AnswerBody>, Failure> {
    let on_upgrade = head.extensions.remove::<OnUpgrade>();
    if let Some(protocol) = &upgrade {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol.clone());
    }
    let mut courier = Courier {
        exchange,
        may_replay: false,
        body: None,
        head: Some(head),
        routed: None,
        upgrade: on_upgrade.zip(upgrade),
        attempts: 0,
        has_begun: false,
        replayed: false,
        fresh: false,
        tried: Vec::new(),
        queue_until: None,
    };
    let held = exchange.held().ok_or_else(|| internal("the request has no slot"))?;
    courier.rewrite(&held)?;
    courier.take_body(&held, body)?;
    courier.take_expectation();
    courier.run().await
}

/// One request's way upstream.
pub(super) struct Courier<'a> {
    pub(super) exchange: &'a Rc<Exchange>,
    /// `None` while it is out with an attempt that kept no copy.
    pub(super) head: Option<Parts>,
    /// The head as it was routed, kept only where the service changes heads.
    routed: Option<Parts>,
    /// `None` if the request has no body.
    pub(super) body: Option<SharedBody>,
    /// The client's end of a tunnel, and the protocols that it asked for.
    upgrade: Option<(OnUpgrade, HeaderValue)>,
    /// The service's policy permits sending it again.
    pub(super) may_replay: bool,
    /// Times that it was sent, or was to be.
    pub(super) attempts: u32,
    /// It has had a slot to go to. The first may be one that was left a moment ago; a further one may not.
    pub(super) has_begun: bool,
    pub(super) replayed: bool,
    /// The next attempt needs a new connection.
    fresh: bool,
    /// Endpoints that are not to be asked again while there are others.
    pub(super) tried: Vec<EndpointId>,
    /// When the patience of a queue ends, once it has been in one.
    pub(super) queue_until: Option<Instant>,
}

/// The head of an answer, and where it came from.
pub(super) struct Arrived {
    pub(super) answer: Response<Incoming>,
    conn: Conn,
    in_flight: InFlight,
}

impl Courier<'_> {
    /// Brings the head into the form that the service wants. What was routed is kept, for another service may have to
    /// take it.
    fn rewrite(&mut self, held: &Held) -> Result<(), Failure> {
        let rules = &held.service.service.settings.request;
        if let Some(routed) = &self.routed {
            self.head = Some(rewrite::copy(routed));
        }
        match &mut self.head {
            Some(head) if !rules.keep_heads() => {
                self.routed.get_or_insert_with(|| rewrite::copy(head));
                rewrite::rewrite(head, rules)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Decides on replay, by the head that the server will see, and wraps the body accordingly.
    fn take_body(&mut self, held: &Held, body: Incoming) -> Result<(), Failure> {
        let head = self.head.as_ref().ok_or_else(|| internal("the request is out"))?;
        let settings = &held.service.service.settings;
        self.may_replay = replay::is_permitted(settings.replay, &head.method, head.uri.path(), &head.headers);
        if body.is_end_stream() {
            return Ok(());
        }
        let bytes_max = settings.request.body_max;
        if bytes_max.is_some_and(|most| body.size_hint().lower() > most) {
            return Err(client_fault(FailureKind::BodyTooLarge));
        }
        // HTTP/2 upstreams may refuse a stream and say that they did nothing: any method may be sent again then.
        let may_keep = self.may_replay || self.exchange.is_grpc;
        let kept_max = if may_keep { settings.replay_buffer } else { 0 };
        let (may_pause, is_http2) = (self.exchange.is_grpc, self.exchange.client.conn.is_http2());
        let bounds = BodyBounds { bytes_max, kept_max, may_pause, is_http2 };
        self.body = Some(SharedBody::new(body, bounds, &self.exchange.worker.replay_budget));
        Ok(())
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
            let held = turn::hold(self).await?;
            retry::note_request(self, &held);
            let now = Instant::now();
            let local = self.pick(&held, now)?.clone();
            match self.attempt(&held, &local, now).await? {
                Some(arrived) if retry::wants_another(self, &held, &local, &arrived.answer) => {}
                Some(arrived) => return self.arrive(&held, arrived),
                None => self.fresh = true,
            }
        }
    }

    /// The slot that the request has.
    pub(super) fn held(&self) -> Result<Held, Failure> {
        self.exchange.held().ok_or_else(|| internal("the request has no slot"))
    }

    /// The slot that serves now, for a request that has to be sent anew after a switch has left its own (E15).
    pub(super) fn move_on(&mut self) -> Result<(), Failure> {
        let head = self.routed.as_ref().or(self.head.as_ref()).ok_or_else(|| internal("the request is out"))?;
        let renewed = assign::assign(&self.exchange.worker, head, Instant::now())?;
        self.exchange.hold(renewed.clone());
        self.rewrite(&renewed)
    }

    fn pick<'h>(&self, held: &'h Held, now: Instant) -> Result<&'h Rc<LocalEndpoint>, Failure> {
        let (endpoints, policy) = (&held.slot.endpoints, &held.service.service.settings.balance);
        self.exchange.worker.balancer.pick(endpoints, policy, &self.tried, now).ok_or_else(|| {
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
    async fn attempt(
        &mut self,
        held: &Held,
        local: &Rc<LocalEndpoint>,
        now: Instant,
    ) -> Result<Option<Arrived>, Failure> {
        let in_flight = local.enter();
        let pool = self.pool(local)?;
        let checkout = pool.checkout(self.choice(), now, held.service.service.settings.retry.wait);
        let mut conn = match until_interrupt(&held.lease, checkout).await.map_err(interrupted)? {
            Ok(conn) => conn,
            Err(error) => {
                drop(in_flight);
                return retry::after_no_connection(self, held, local, error).await.map(|()| None);
            }
        };
        let reused = conn.is_reused();
        let request = self.request(held, pool, &conn)?;
        let sent = outcome::Sent::new(held, local);
        let result = until_interrupt(&held.lease, conn.send(request)).await;
        match &result {
            Ok(Ok(answer)) => sent.answered(answer.status()),
            Err(Interrupt::TimedOut) => sent.timed_out(),
            Ok(Err(_)) | Err(Interrupt::Cut | Interrupt::OverLimit(_)) => {}
        }
        match result {
            Ok(Ok(answer)) => Ok(Some(Arrived { answer, conn, in_flight })),
            Ok(Err(error)) => self.after_failure(error, reused, held, local).map(|()| None),
            Err(Interrupt::TimedOut) if retry::may_ask_another(self, held, local) => Ok(None),
            Err(interrupt) => Err(interrupted(interrupt)),
        }
    }

    /// Which connection will do.
    fn choice(&self) -> Choice {
        match (self.fresh, self.may_replay) {
            (true, _) => Choice::Fresh,
            (false, true) => Choice::Kept,
            (false, false) => Choice::Checked,
        }
    }

    /// The request as this connection is to have it. A copy of the head stays here if it may be needed again.
    fn request(&mut self, held: &Held, pool: &Pool, conn: &Conn) -> Result<Request<RequestBody>, Failure> {
        let head = if self.may_replay || conn.speaks_http2() { self.head.as_mut().map(lend) } else { self.head.take() };
        let mut head = head.ok_or_else(|| internal("the request is out"))?;
        let expectation = self.exchange.expectation.get();
        if conn.speaks_http2() {
            let (scheme, default) =
                pool.target().map_or(("http", "localhost"), |target| (target.scheme(), target.authority.as_str()));
            to_http2(&mut head, scheme, default)?;
            // hyper does not tell what an HTTP/2 server says before its answer.
            if let Some(expectation) = expectation {
                head.headers.remove(header::EXPECT);
                expectation.fulfil();
            }
        } else {
            head.version = Version::HTTP_11;
            if self.body.is_some() && !head.headers.contains_key(header::CONTENT_LENGTH) {
                // The HTTP library would send a GET without its body otherwise.
                head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if self.body.is_none() && expects_body(&head) && !head.headers.contains_key(header::CONTENT_LENGTH) {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            if !head.headers.contains_key(header::HOST)
                && let Some(target) = pool.target()
            {
                let host =
                    HeaderValue::from_str(&target.authority).map_err(|_invalid| internal("the endpoint's name"))?;
                head.headers.insert(header::HOST, host);
            }
        }
        let first_byte = retry::patience(self, held);
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

    /// Ok if the request may be sent again on a fresh connection.
    fn after_failure(
        &mut self,
        mut error: SendError,
        reused: bool,
        held: &Held,
        local: &LocalEndpoint,
    ) -> Result<(), Failure> {
        if let Some(fault) = self.body.as_ref().and_then(SharedBody::fault) {
            return Err(client_fault(fault));
        }
        if let Some(unsent) = error.unsent.take() {
            self.head.get_or_insert_with(|| unsent.into_parts().0);
        }
        outcome::no_answer(held, local, &error, reused);
        let unprocessed = error.is_surely_unprocessed();
        let unanswered = !error.answer_began && error.kind() == FailureKind::UpstreamClosed;
        let permitted = unprocessed || (unanswered && self.may_replay && !self.replayed);
        if self.is_whole() && permitted && self.attempts < retry::ATTEMPTS_MAX {
            self.replayed |= !unprocessed;
            self.exchange.replayed();
            return Ok(());
        }
        if !error.answer_began && retry::may_ask_another(self, held, local) {
            return Ok(());
        }
        if unanswered && reused {
            self.exchange.replay_refused();
        }
        self.exchange.worker.complain(local, &error);
        let message = match error.kind() {
            FailureKind::UpstreamMalformed => "what the endpoint sent is not an HTTP answer",
            FailureKind::UpstreamTls => "the endpoint refused what the proxy shows of itself",
            _ => "the endpoint closed the connection without an answer",
        };
        Err(Failure::new(error.kind(), message))
    }

    /// True while head and body are at hand to be sent once more.
    pub(super) fn is_whole(&self) -> bool {
        self.head.is_some() && self.body.as_ref().is_none_or(SharedBody::is_whole)
    }

    /// The head of the answer is here: nothing can be replayed from now on.
    fn arrive(&mut self, held: &Held, arrived: Arrived) -> Result<Response<AnswerBody>, Failure> {
        held.lease.set_deadline(None);
        if let Some(body) = &self.body {
            body.stop_keeping();
            if !body.has_ended() {
                // The server may be done with a client that still sends: closing must not erase the answer.
                self.exchange.client.conn.must_linger();
            }
        }
        let Arrived { mut answer, conn, in_flight } = arrived;
        if answer.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let agreed = self.upgrade.take().filter(|(_, asked)| tunnel::is_agreed(asked, answer.headers()));
            let Some((client, _)) = agreed else {
                return Err(Failure::new(FailureKind::UpstreamMalformed, "the endpoint changed protocols unasked"));
            };
            let upstream = hyper::upgrade::on(&mut answer);
            return Ok(tunnel::open(self.exchange, held, answer.map(drop), client, upstream, in_flight));
        }
        let (mut head, incoming) = answer.into_parts();
        let keep_alive = headers::keep_alive_timeout(&head.headers);
        let closes = headers::says_close(&head.headers);
        let mut reuse = arrival::settle(&mut head)?;
        headers::end_hop(&mut head.headers);
        headers::edit(&mut head.headers, &held.service.service.settings.answer);
        headers::disown(&mut head.headers);
        headers::mark(&mut head.headers, self.exchange);
        head.version = Version::HTTP_11;
        self.classify(held, &head.headers);
        self.exchange.answered(head.status.as_u16(), true);
        let unasked = self.exchange.leaves_body_unasked();
        if unasked || self.leaves_body_unread(closes) {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let until_close = self.exchange.client.conn.speaks_old() && incoming.size_hint().exact().is_none();
        if until_close {
            // In HTTP/1.1 hyper would add that the connection stays.
            head.version = Version::HTTP_10;
        }
        if unasked {
            reuse = Reuse::Never;
        }
        held.lease.set_abort(net::Abort::current());
        let body = AnswerBody::relay(RelayParts {
            incoming,
            request: self.body.take().filter(|body| !body.has_ended()),
            exchange: self.exchange.clone(),
            conn,
            in_flight,
            reusable: reuse == Reuse::Safe,
            keep_alive,
            watch_messages: self.exchange.is_grpc,
            idle: held.service.service.settings.timeouts.idle,
            until_close,
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
            held.lease.lift_limit(FailureKind::RequestTimeout);
        }
    }
}

/// A server may take the lack of a length for a fault in these (RFC 9110 section 8.6), and HTTP/2 needs none.
fn expects_body(head: &Parts) -> bool {
    use http::Method;
    [Method::POST, Method::PUT, Method::PATCH].contains(&head.method)
}

/// Gives the head away and keeps a copy.
fn lend(head: &mut Parts) -> Parts {
    let copy = rewrite::copy(head);
    std::mem::replace(head, copy)
}

/// HTTP/2's form: the authority in the target, no `Host`.
fn to_http2(head: &mut Parts, scheme: &str, default_authority: &str) -> Result<(), Failure> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(default_authority);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build();
    head.uri =
        uri.map_err(|_invalid| Failure::new(FailureKind::BadRequest, "the request target cannot be sent over HTTP/2"))?;
    head.version = Version::HTTP_2;
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::UPGRADE);
    Ok(())
}

/// The future's output, unless the lease's holder has to stop first.
pub(super) async fn until_interrupt<F: Future>(lease: &Lease, future: F) -> Result<F::Output, Interrupt> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => lease.poll_interrupt(cx).map(Err),
    })
    .await
}

pub(super) fn interrupted(interrupt: Interrupt) -> Failure {
    match interrupt {
        Interrupt::OverLimit(kind @ FailureKind::DeadlineExceeded) => {
            Failure::new(kind, "the call was not done within its grpc-timeout")
        }
        Interrupt::OverLimit(kind) => Failure::new(kind, "the request took longer than it may in all"),
        Interrupt::Cut => Failure::new(FailureKind::DrainCut, "the slot's drain deadline is over"),
        Interrupt::TimedOut => Failure::new(FailureKind::UpstreamTimeout, "no answer within timeouts.first_byte"),
    }
}

/// What the client did wrong with its body.
fn client_fault(kind: FailureKind) -> Failure {
    let message = match kind {
        FailureKind::BodyTooLarge => "the request body is longer than the service takes",
        FailureKind::BodyTimeout => "no byte of the request body within limits.body_timeout",
        _ => "the request body broke off or was malformed",
    };
    Failure::new(kind, message)
}

fn internal(what: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("a defect of the proxy: {what}"))
}

/// Shortest time between two complaints about endpoints in a worker's log.
pub(super) const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);
