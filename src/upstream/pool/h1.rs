//! HTTP/1.1 connections: one request at a time, last in first out.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use super::{PoolLimits, RequestBody, send::Answer};
use crate::{
    net::hush::Hush,
    upstream::{UpstreamStream, WireFacts, wire::Wire},
};

/// Bytes an answer's head may have.
const ANSWER_HEAD_BYTES_MAX: usize = 256 * 1024;

/// Idle connections to one address.
pub(super) struct Idle {
    conns: RefCell<Vec<Waiting>>,
    idle_timeout: Duration,
    idle_max: usize,
}

struct Waiting {
    conn: Link,
    until: Instant,
}

/// A connection.
struct Link {
    sender: SendRequest<RequestBody>,
    facts: Arc<WireFacts>,
}

/// A connection in use by one request.
pub struct Checkout {
    link: Link,
    reused: bool,
    home: Rc<Idle>,
}

impl Idle {
    pub(super) fn new(limits: &PoolLimits) -> Rc<Self> {
        Rc::new(Self { conns: RefCell::default(), idle_timeout: limits.idle_timeout, idle_max: limits.idle_max })
    }

    /// The connection that was used last, if its time is not over and its end not seen.
    pub(super) fn take(self: &Rc<Self>, now: Instant) -> Option<Checkout> {
        let mut conns = self.conns.borrow_mut();
        let mut index = conns.len();
        while index > 0 {
            index -= 1;
            let waiting = &conns[index];
            if waiting.until <= now || waiting.conn.sender.is_closed() {
                conns.swap_remove(index);
            } else if waiting.conn.sender.is_ready() {
                let link = conns.remove(index).conn;
                return Some(Checkout { link, reused: true, home: self.clone() });
            }
        }
        None
    }

    pub(super) fn count(&self) -> usize {
        self.conns.borrow().len()
    }

    pub(super) fn most(&self) -> usize {
        self.idle_max
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.conns.borrow_mut().retain(|waiting| waiting.until > now && !waiting.conn.sender.is_closed());
    }

    pub(super) fn close(&self) {
        self.conns.borrow_mut().clear();
    }
}

/// How HTTP/1.1 is spoken to endpoints.
pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.preserve_header_case(true).max_header_size(ANSWER_HEAD_BYTES_MAX);
    builder
}

/// Speaks HTTP/1.1 on a new stream. The connection's own task ends with the connection.
pub(super) async fn handshake(stream: UpstreamStream, home: &Rc<Idle>) -> hyper::Result<Checkout> {
    let (wire, facts) = Wire::new(stream);
    let (sender, connection) = builder().handshake(TokioIo::new(wire)).await?;
    let hush = Hush::new(facts.clone());
    tokio::task::spawn_local(async move {
        let mut connection = connection.with_upgrades();
        if let Err(error) = poll_fn(|cx| hush.poll(Pin::new(&mut connection), cx)).await {
            tracing::debug!(%error, "An upstream connection ended with an error.");
        }
    });
    Ok(Checkout { link: Link { sender, facts }, reused: false, home: home.clone() })
}

impl Checkout {
    /// True if the server has done nothing to the connection that the kernel knows of. Lets the runtime ask the kernel,
    /// and the connection's own task look, before it answers; that costs a system call, and a turn of everybody else.
    pub(super) async fn is_untouched(&self) -> bool {
        tokio::task::yield_now().await;
        self.link.sender.is_ready()
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn facts(&self) -> &WireFacts {
        &self.link.facts
    }

    /// Gives the request to the connection at once.
    pub(super) fn send(&mut self, request: Request<RequestBody>) -> impl Answer + use<> {
        self.link.facts.hold_write_failures();
        self.link.sender.try_send_request(request)
    }

    /// Puts a new connection among the idle ones, once it can take a request.
    pub(super) async fn keep_unused(mut self) {
        if self.link.sender.ready().await.is_ok() {
            self.give_back(Instant::now(), None);
        }
    }

    pub(super) fn give_back(self, now: Instant, keep_alive: Option<Duration>) {
        let Checkout { link, home, .. } = self;
        link.facts.tell_write_failures();
        let patience = keep_alive.map_or(home.idle_timeout, |said| home.idle_timeout.min(said.mul_f32(0.75)));
        if patience.is_zero() || link.sender.is_closed() {
            return;
        }
        let mut conns = home.conns.borrow_mut();
        if conns.len() < home.idle_max {
            conns.push(Waiting { conn: link, until: now + patience });
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.facts.tell_write_failures();
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("conns", &self.conns.borrow().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout").field("reused", &self.reused).finish_non_exhaustive()
    }
}
