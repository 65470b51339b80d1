//! The answer as the client is to have it: its head rewritten, its body still running.

use http::{HeaderValue, Response, Version, header};
use http_body::Body as _;

use super::{
    answer::Failure,
    arrival::{self, Reuse},
    body::{AnswerBody, RelayParts},
    exchange::Held,
    forward::{Arrived, Courier},
    headers::{self, Seen},
    tunnel,
};
use crate::{net, telemetry::FailureKind, upstream::lease::LeaseKind};

impl Courier<'_> {
    /// The head of the answer is here: nothing can be replayed from now on.
    pub(super) fn arrive(&mut self, held: Held, arrived: Arrived) -> Result<Response<AnswerBody>, Failure> {
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
            return Ok(tunnel::open(self.exchange, &held, answer.map(drop), client, upstream, in_flight));
        }
        let (mut head, incoming) = answer.into_parts();
        let seen = Seen::of(&head.headers);
        let keep_alive = headers::keep_alive_timeout(&head.headers, seen);
        let closes = headers::says_close(&head.headers, seen);
        let mut reuse = arrival::settle(&mut head, seen)?;
        headers::end_hop(&mut head.headers, seen);
        let tee = self.copy_answer(&held, &head);
        let seen = headers::edit_answer(&mut head.headers, seen, &held.service.service.settings.answer);
        headers::disown(&mut head.headers, seen);
        headers::mark(&mut head.headers, seen, self.exchange);
        head.version = Version::HTTP_11;
        self.classify(&held, &head.headers);
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
            lease: held.lease,
            request: self.body.take().filter(|body| !body.has_ended()),
            exchange: self.exchange.clone(),
            conn,
            in_flight,
            reusable: reuse == Reuse::Safe,
            keep_alive,
            watch_messages: self.exchange.is_grpc,
            idle: held.service.service.settings.timeouts.idle,
            until_close,
            tee,
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
        let kind = headers::first(fields, &header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let streams =
            [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl", b"multipart/x-mixed-replace"];
        if request_open || streams.iter().any(|stream| kind.starts_with(stream)) {
            held.lease.classify(LeaseKind::Stream);
            held.lease.lift_limit(FailureKind::RequestTimeout);
        }
    }
}
