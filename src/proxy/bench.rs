//! A door for `benches/`: steps of a request that this room keeps to itself, without a connection. Nobody else comes in
//! here, and nothing in here is a promise.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Version, request::Parts};
use http_body::{Body as _, Frame};

use super::{
    assign::assign,
    body::{self, AnswerBody, RelayParts},
    exchange::{Client, Exchange},
    headers::{self, Seen},
    worker::{Worker, WorkerOptions},
};
use crate::{
    config::settings::{ClientRules, HeaderEdits},
    shadow::{Taps, Tee},
    table::Reader,
    telemetry::Registry,
    upstream::{Choice, RequestBody},
};

/// A worker that serves nobody.
#[derive(Debug)]
pub struct Desk {
    worker: Rc<Worker>,
}

impl Desk {
    pub fn new(clients: ClientRules, reader: Reader, registry: Registry) -> Self {
        let clients = Arc::new(clients);
        let options = WorkerOptions {
            index: 0,
            workers: 1,
            clients,
            tls: None,
            registry,
            access: None,
            taps: Taps::default().reader(),
        };
        Self { worker: Worker::new(options, reader, Arc::default()) }
    }

    /// Finds the service, takes a lease on its active slot and gives it back. False if no service takes the request.
    pub fn assign(&self, head: &Parts) -> bool {
        assign(&self.worker, head, Instant::now(), |_| Ok(None)).is_ok()
    }

    /// Asks the first endpoint of the service that takes the request. `None` if there is none, or it does not answer.
    pub async fn ask(&self, request: Request<()>) -> Option<Answer> {
        let (head, ()) = request.into_parts();
        let held = assign(&self.worker, &head, Instant::now(), |_| Ok(None)).ok()?;
        let local = held.slot.endpoints.first()?.clone();
        let mut conn = local.http.as_ref()?.checkout(Choice::Fresh, Instant::now(), Duration::ZERO).await.ok()?;
        let incoming = conn.send(Request::new(RequestBody::Empty)).await.ok()?.into_body();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client = Client { conn: self.worker.patrol.conn(peer), address: HeaderValue::from_static("127.0.0.1") };
        let exchange = Exchange::new(
            &self.worker,
            &Rc::new(client),
            &head,
            Seen::of(&head.headers),
            &incoming,
            false,
            Instant::now(),
        );
        let idle = held.service.service.settings.timeouts.idle;
        let lease = held.lease.clone();
        exchange.hold(held);
        Some(Answer(AnswerBody::relay(RelayParts {
            incoming,
            lease,
            request: None,
            exchange,
            conn,
            in_flight: local.enter(),
            reusable: false,
            keep_alive: None,
            watch_messages: false,
            idle,
            until_close: false,
            tee: None,
        })))
    }
}

/// An answer on its way to nobody.
#[derive(Debug)]
pub struct Answer(AnswerBody);

impl Answer {
    /// The next part, as the client's connection would get it. `None` at the end.
    pub async fn frame(&mut self) -> Option<Frame<Bytes>> {
        poll_fn(|cx| Pin::new(&mut self.0).poll_frame(cx)).await?.ok()
    }
}

/// What a tap costs a part of an answer.
pub fn copy(tee: &Tee, frame: &Frame<Bytes>) {
    body::copy(tee, frame);
}

/// What happens to the fields of each request, but for those that tell of the client.
pub fn pass_on(fields: &mut HeaderMap, edits: &HeaderEdits) {
    let seen = Seen::of(fields);
    headers::end_hop(fields, seen);
    headers::add_via(fields, Version::HTTP_11);
    crate::upstream::edit(fields, edits);
}
