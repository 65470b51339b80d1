//! Sends a request to an endpoint of its slot, and again where that is permitted.

use std::{
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, Version, header, request::Parts};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    answer::{Failure, internal},
    assign,
    body::AnswerBody,
    exchange::{Exchange, Held},
    headers,
    interrupt::{interrupted, until_interrupt},
    outcome, replay, retry, rewrite, turn,
};
use crate::{
    config::settings::ReplayPolicy,
    ids::EndpointId,
    shadow::Tee,
    telemetry::FailureKind,
    upstream::{BodyBounds, Choice, Conn, InFlight, LocalEndpoint, Pool, SendError, SharedBody, lease::Interrupt},
};

/// Sends the request upstream, for a start to the slot that is held, and gives back the answer, its body still running.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    head: &mut Parts,
    body: Incoming,
    held: Held,
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
        head,
        is_out: false,
        routed: None,
        upgrade: on_upgrade.zip(upgrade),
        attempts: 0,
        has_begun: false,
        replayed: false,
        fresh: false,
        tried: Vec::new(),
        queue_until: None,
        tee: None,
    };
    courier.begin_copy(&held);
    courier.rewrite(&held)?;
    courier.take_body(&held, body)?;
    courier.copy_request();
    courier.take_expectation();
    courier.run(held).await
}

/// One request's way upstream.
pub(super) struct Courier<'a> {
    pub(super) exchange: &'a Rc<Exchange>,
    /// Where the handler has it: a head is too large to be moved about.
    head: &'a mut Parts,
    /// The head is out with an attempt that kept no copy.
    is_out: bool,
    /// The head as it was routed, kept only where the service changes heads.
    routed: Option<Parts>,
    /// `None` if the request has no body.
    pub(super) body: Option<SharedBody>,
    /// The client's end of a tunnel, and the protocols that it asked for.
    pub(super) upgrade: Option<(OnUpgrade, HeaderValue)>,
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
    /// Copies the exchange, if somebody wants it.
    pub(super) tee: Option<Rc<Tee>>,
}

/// The head of an answer, and where it came from.
pub(super) struct Arrived {
    pub(super) answer: Response<Incoming>,
    pub(super) conn: Conn,
    pub(super) in_flight: InFlight,
}

impl Courier<'_> {
    /// Brings the head into the form that the service wants. What was routed is kept, for another service may have to
    /// take it.
    fn rewrite(&mut self, held: &Held) -> Result<(), Failure> {
        let rules = &held.service.service.settings.request;
        if let Some(routed) = &self.routed {
            self.put_head(rewrite::copy(routed));
        }
        if self.is_out || rules.keep_heads() {
            return Ok(());
        }
        self.routed.get_or_insert_with(|| rewrite::copy(self.head));
        rewrite::rewrite(self.head, rules)
    }

    /// Decides on replay, by the head that the server will see, and wraps the body accordingly.
    fn take_body(&mut self, held: &Held, body: Incoming) -> Result<(), Failure> {
        let settings = &held.service.service.settings;
        let Parts { method, uri, headers, .. } = &*self.head;
        self.may_replay = replay::is_permitted(settings.replay, method, uri.path(), headers);
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
        if !headers::has(&self.head.headers, &header::EXPECT) {
            return;
        }
        let expects = self.head.headers.get(header::EXPECT);
        if !expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return;
        }
        match &self.body {
            Some(body) if self.head.version == Version::HTTP_11 => {
                let expectation = self.exchange.expectation.get_or_init(Arc::default);
                body.hold_back(expectation.clone());
            }
            Some(_) | None => drop(self.head.headers.remove(header::EXPECT)),
        }
    }

    async fn run(&mut self, mut held: Held) -> Result<Response<AnswerBody>, Failure> {
        let mut arrived = Some(self.exchange.started);
        loop {
            self.attempts += 1;
            turn::hold(self, &mut held).await?;
            retry::note_request(self, &held);
            // Most requests get here in no time, and need not look at the clock again.
            let now = arrived.take().filter(|_| self.queue_until.is_none()).unwrap_or_else(Instant::now);
            let local = self.pick(&held, now)?.clone();
            match self.attempt(&held, &local, now).await? {
                Some(arrived) if retry::wants_another(self, &held, &local, &arrived.answer) => {}
                Some(arrived) => return self.arrive(held, arrived),
                None => self.fresh = true,
            }
        }
    }

    /// The slot that serves now, for a request that has to be sent anew after a switch has left its own (E15). Who chose
    /// a slot gets that one or a refusal.
    pub(super) fn move_on(&mut self) -> Result<Held, Failure> {
        let head = self.routed.as_ref().or(self.head()).ok_or_else(|| internal("the request is out"))?;
        let renewed = assign::again(self.exchange, head, Instant::now())?;
        self.exchange.hold(renewed.clone());
        self.rewrite(&renewed)?;
        Ok(renewed)
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
        let choice = self.choice();
        let found = match pool.kept(choice, now) {
            Some(conn) => Ok(conn),
            None => {
                let checkout = pool.checkout(choice, now, held.service.service.settings.retry.wait);
                until_interrupt(&held.lease, checkout).await.map_err(interrupted)?
            }
        };
        let mut conn = match found {
            Ok(conn) => conn,
            Err(error) => {
                drop(in_flight);
                return Box::pin(retry::after_no_connection(self, held, local, error)).await.map(|()| None);
            }
        };
        let reused = conn.is_reused();
        let request = self.request(held, pool, &conn)?;
        let sent = outcome::Sent::new(held, local);
        let result = {
            // Pinned here, so that the wait need not move it.
            let sending = pin!(conn.send(request));
            until_interrupt(&held.lease, sending).await
        };
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
        if let Some(unsent) = error.unsent.take().filter(|_| self.is_out) {
            self.put_head(unsent.into_parts().0);
        }
        outcome::no_answer(held, local, &error, reused);
        let unprocessed = error.is_surely_unprocessed();
        let unanswered = !error.answer_began && error.kind() == FailureKind::UpstreamClosed;
        // What is harmless to repeat may be repeated wherever it was lost; `reused` permits the rest only where a close
        // has most likely crossed the request.
        let policy = held.service.service.settings.replay;
        let may_replay = self.may_replay && (reused || policy != ReplayPolicy::Reused);
        let permitted = unprocessed || (unanswered && may_replay && !self.replayed);
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
        !self.is_out && self.body.as_ref().is_none_or(SharedBody::is_whole)
    }

    /// `None` while it is out.
    pub(super) fn head(&self) -> Option<&Parts> {
        (!self.is_out).then_some(&*self.head)
    }

    /// Gives the head away; with `keep` a copy stays here.
    pub(super) fn take_head(&mut self, keep: bool) -> Option<Parts> {
        if self.is_out {
            return None;
        }
        self.is_out = !keep;
        let left = if keep { rewrite::copy(self.head) } else { rewrite::no_head() };
        Some(std::mem::replace(self.head, left))
    }

    fn put_head(&mut self, head: Parts) {
        *self.head = head;
        self.is_out = false;
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

/// Shortest time between two complaints about endpoints in a worker's log.
pub(super) const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);
