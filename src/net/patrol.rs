//! A worker's client connections and their time limits.
//!
//! The worker's tick looks at all connections a few times a second, so that a connection costs no timer of its own and
//! a request none at all. Limits are met up to one tick late.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

use crate::config::settings::Limits;

/// Time over which resets are counted.
const RESETS_WINDOW_MS: u64 = 10_000;

/// What a connection does, as far as its time limits care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing: no request is open and no byte of one has come.
    Idle,
    /// Part of a request head has come (HTTP/1.1).
    Head,
    /// At least one request is open.
    Busy,
}

/// No place in a connection's bytes.
const UNKNOWN: u64 = u64::MAX;

/// One client connection, shared by its stream, its task and its requests. Atomic only because hyper wants streams to
/// be `Send`; one thread uses it.
#[derive(Debug)]
pub struct ClientConn {
    /// Never an IPv4 address in IPv6 form.
    pub peer: IpAddr,
    doing: AtomicU8,
    /// When `doing` last changed, in milliseconds of the patrol's clock.
    since_ms: AtomicU64,
    clock: Arc<AtomicU64>,
    open: AtomicU32,
    is_http2: AtomicBool,
    is_tls: AtomicBool,
    must_linger: AtomicBool,
    /// Since when the client takes nothing of what is written, in milliseconds of the patrol's clock; or `NOT_BLOCKED`.
    blocked_since_ms: AtomicU64,
    /// The stream is to try a write, whatever it knows.
    try_write: AtomicBool,
    stalled: AtomicBool,
    cut: AtomicBool,
    /// Streams that were reset since `resets_since_ms`, as many as may be, and whether there were more.
    resets: AtomicU32,
    resets_since_ms: AtomicU64,
    resets_max: AtomicU32,
    expelled: AtomicBool,
    closing: Arc<AtomicBool>,
    /// The request that is open may be told of what goes on before its answer (HTTP/1.1).
    takes_interim: AtomicBool,
    answering: AtomicBool,
    /// The bytes are no longer HTTP.
    is_tunnel: AtomicBool,
    /// Bytes of an answer wait for the client to take them.
    pub(super) is_blocked: AtomicBool,
    has_interim: AtomicBool,
    interim: Mutex<Vec<u8>>,
    /// Where in the connection's bytes the head ended that was read last, and where the next is to begin.
    head_end: AtomicU64,
    next_head: AtomicU64,
    body_end: AtomicU64,
    /// Wakes the connection's task.
    pub(super) waker: OnceLock<Waker>,
}

impl ClientConn {
    /// A request starts. `takes_interim`: its client knows answers of class 1xx (RFC 9110 section 15.2). `body_bytes`:
    /// how many bytes follow the head, if that is known.
    pub fn enter(&self, takes_interim: bool, body_bytes: Option<u64>) {
        let head_end = self.head_end.swap(UNKNOWN, Relaxed);
        let next = body_bytes.filter(|_| head_end != UNKNOWN).and_then(|bytes| head_end.checked_add(bytes));
        self.next_head.store(next.unwrap_or(UNKNOWN), Relaxed);
        self.open.store(self.open.load(Relaxed) + 1, Relaxed);
        self.takes_interim.store(takes_interim && !self.is_http2.load(Relaxed), Relaxed);
        self.answering.store(false, Relaxed);
        self.set(Doing::Busy);
    }

    /// The answer to the request that is open begins.
    pub fn begin_answer(&self) {
        self.answering.store(true, Relaxed);
    }

    /// From here on the bytes are not the connection's to look at.
    pub fn become_tunnel(&self) {
        self.is_tunnel.store(true, Relaxed);
    }

    /// True if the request that is open came in HTTP/1.0.
    pub fn speaks_old(&self) -> bool {
        self.is_http1() && !self.takes_interim()
    }

    /// True if answers of class 1xx may be sent for the request that is open.
    pub fn takes_interim(&self) -> bool {
        self.takes_interim.load(Relaxed)
    }

    /// Sends an answer of class 1xx as it stands. It is left out if the client would not know it, if its answer has
    /// begun, or if the client does not take what waits for it: it is news, and may be missed.
    pub fn send_interim(&self, text: &[u8]) {
        if !self.takes_interim() || self.is_answering() || self.is_blocked.load(Relaxed) {
            return;
        }
        self.interim.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        self.has_interim.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn note_head_end(&self, place: u64) {
        self.head_end.store(place, Relaxed);
    }

    /// A body whose length was not known has ended, maybe even before its request was taken up.
    pub(super) fn note_body_end(&self, place: u64) {
        self.body_end.store(place, Relaxed);
    }

    /// True if the bytes at this place are known to be the first of a head.
    pub(super) fn expects_head_at(&self, place: u64) -> bool {
        self.next_head.load(Relaxed) == place || self.body_end.load(Relaxed) == place
    }

    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        self.has_interim
            .swap(false, Relaxed)
            .then(|| std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Relaxed)
    }

    /// True while the bytes are those of HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        !self.is_http2.load(Relaxed) && !self.is_tunnel.load(Relaxed)
    }

    /// A request has ended: its answer is out, or nobody wants it any more.
    pub fn leave(&self) {
        let open = self.open.load(Relaxed).saturating_sub(1);
        self.open.store(open, Relaxed);
        if open == 0 {
            self.set(Doing::Idle);
        }
    }

    /// Part of the client's bytes were not read: close so that the answer survives (RFC 9112 section 9.6).
    pub fn must_linger(&self) {
        self.must_linger.store(true, Relaxed);
    }

    /// The proxy is shutting down: HTTP/1.1 answers say `Connection: close`.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// The client speaks TLS with the proxy.
    pub fn is_tls(&self) -> bool {
        self.is_tls.load(Relaxed)
    }

    /// An answer broke off whose end only the close tells: the close is to be a reset (RFC 9112 section 8).
    pub fn cut(&self) {
        self.cut.store(true, Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    /// True once it was ended because the client took nothing of what waited for it.
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// The client reset an HTTP/2 stream, or made the proxy reset it. True, once, if that was one too many.
    pub fn note_reset(&self) -> bool {
        let now = self.clock.load(Relaxed);
        if now.saturating_sub(self.resets_since_ms.load(Relaxed)) >= RESETS_WINDOW_MS {
            self.resets_since_ms.store(now, Relaxed);
            self.resets.store(0, Relaxed);
        }
        let resets = self.resets.load(Relaxed) + 1;
        self.resets.store(resets, Relaxed);
        resets > self.resets_max.load(Relaxed) && !self.expelled.swap(true, Relaxed)
    }

    /// True once it was ended for its resets.
    pub(super) fn is_expelled(&self) -> bool {
        self.expelled.load(Relaxed)
    }

    /// The client's side took bytes, or did not.
    pub(super) fn note_write(&self, blocked: bool) {
        let known = self.blocked_since_ms.load(Relaxed) != NOT_BLOCKED;
        if known != blocked {
            let since = if blocked { self.clock.load(Relaxed) } else { NOT_BLOCKED };
            self.blocked_since_ms.store(since, Relaxed);
        }
    }

    /// True, once, if a write is to be tried now.
    pub(super) fn takes_a_try(&self) -> bool {
        self.try_write.load(Relaxed) && self.try_write.swap(false, Relaxed)
    }

    fn blocked_for_ms(&self) -> Option<u64> {
        let since = Some(self.blocked_since_ms.load(Relaxed)).filter(|since| *since != NOT_BLOCKED)?;
        Some(self.clock.load(Relaxed).saturating_sub(since))
    }

    pub(super) fn lingers(&self) -> bool {
        self.must_linger.load(Relaxed)
    }

    /// It speaks HTTP/2, and may reset so many streams in ten seconds.
    pub(super) fn set_http2(&self, resets_max: u32) {
        self.is_http2.store(true, Relaxed);
        self.resets_max.store(resets_max, Relaxed);
    }

    pub(super) fn set_tls(&self) {
        self.is_tls.store(true, Relaxed);
    }

    /// HTTP begins, with a part of a head or without one; its time begins, too.
    pub(super) fn begin(&self, with_a_head: bool) {
        self.set(if with_a_head { Doing::Head } else { Doing::Idle });
    }

    /// Bytes came.
    pub(super) fn note_read(&self) {
        if self.doing() == Doing::Idle && !self.is_http2.load(Relaxed) {
            self.set(Doing::Head);
        }
    }

    pub(super) fn doing(&self) -> Doing {
        match self.doing.load(Relaxed) {
            0 => Doing::Idle,
            1 => Doing::Head,
            _ => Doing::Busy,
        }
    }

    fn set(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
        self.since_ms.store(self.clock.load(Relaxed), Relaxed);
    }

    fn for_ms(&self) -> u64 {
        self.clock.load(Relaxed).saturating_sub(self.since_ms.load(Relaxed))
    }
}

const NOT_BLOCKED: u64 = u64::MAX;

/// What a connection's task is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Poll the connection again: a write is to be tried.
    Look,
    /// Shutdown began: HTTP/2 says GOAWAY and goes on with what is open.
    Announce,
    /// Close as soon as nothing is open.
    Finish,
    /// The connection's own time is over.
    Expire,
    /// The client takes nothing, or makes work for nothing: let go of the connection as it is.
    Sever,
}

/// All client connections of a worker.
pub struct Patrol {
    posts: RefCell<Slab<Post>>,
    started: Instant,
    clock: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    standing_order: Cell<Option<Order>>,
}

struct Post {
    conn: Arc<ClientConn>,
    order: Option<Order>,
    waker: Option<Waker>,
}

/// A connection's place on the patrol's round; leaving it is dropping this.
pub(super) struct Watched {
    patrol: Rc<Patrol>,
    key: usize,
    pub(super) conn: Arc<ClientConn>,
}

impl Patrol {
    pub fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self {
            posts: RefCell::default(),
            started: now,
            clock: Arc::default(),
            closing: Arc::default(),
            standing_order: Cell::new(None),
        })
    }

    /// Number of open client connections.
    pub fn len(&self) -> usize {
        self.posts.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves the clock on and ends connections whose time is over.
    pub fn tick(&self, now: Instant, limits: &Limits) {
        self.clock.store(now.saturating_duration_since(self.started).as_millis() as u64, Relaxed);
        for (_, post) in self.posts.borrow_mut().iter_mut() {
            if let Some(limit) = limits.send_timeout {
                post.look_at_writes(limit);
            }
            let limit = match post.conn.doing() {
                Doing::Busy => continue,
                Doing::Head => limits.header_timeout,
                Doing::Idle => limits.idle_timeout,
            };
            let doing_for = Duration::from_millis(post.conn.for_ms());
            if doing_for >= limit {
                post.give(Order::Expire);
            }
            // An HTTP/2 connection without a request that has not ended by itself has a client that leaves the last part
            // of an answer where it is.
            if post.conn.is_http2() && limits.send_timeout.is_some_and(|send| doing_for >= limit + send) {
                post.give(Order::Sever);
            }
        }
    }

    /// Shutdown begins: nothing is closed yet.
    pub fn announce(&self) {
        self.closing.store(true, Relaxed);
        self.order_all(Order::Announce);
    }

    /// Connections close as soon as nothing is open on them.
    pub fn finish(&self) {
        self.order_all(Order::Finish);
    }

    /// Ends a connection whose client resets too much.
    pub fn expel(&self, conn: &Arc<ClientConn>) {
        for (_, post) in self.posts.borrow_mut().iter_mut().filter(|(_, post)| Arc::ptr_eq(&post.conn, conn)) {
            post.give(Order::Sever);
        }
    }

    fn order_all(&self, order: Order) {
        self.standing_order.set(Some(order));
        for (_, post) in self.posts.borrow_mut().iter_mut() {
            post.give(order);
        }
    }

    pub(super) fn watch(self: &Rc<Self>, peer: IpAddr) -> Watched {
        let conn = self.conn(peer);
        let post = Post { conn: conn.clone(), order: self.standing_order.get(), waker: None };
        Watched { patrol: self.clone(), key: self.posts.borrow_mut().insert(post), conn }
    }

    fn conn(&self, peer: IpAddr) -> Arc<ClientConn> {
        Arc::new(ClientConn {
            peer,
            doing: AtomicU8::new(Doing::Idle as u8),
            since_ms: AtomicU64::new(self.clock.load(Relaxed)),
            clock: self.clock.clone(),
            open: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            is_tls: AtomicBool::new(false),
            must_linger: AtomicBool::new(false),
            blocked_since_ms: AtomicU64::new(NOT_BLOCKED),
            try_write: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            resets: AtomicU32::new(0),
            resets_since_ms: AtomicU64::new(0),
            resets_max: AtomicU32::new(u32::MAX),
            expelled: AtomicBool::new(false),
            closing: self.closing.clone(),
            takes_interim: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            has_interim: AtomicBool::new(false),
            interim: Mutex::default(),
            head_end: AtomicU64::new(UNKNOWN),
            next_head: AtomicU64::new(0),
            body_end: AtomicU64::new(UNKNOWN),
            waker: OnceLock::new(),
        })
    }
}

impl Post {
    /// Lets go of a client that takes nothing. The kernel tells of room in its buffer only when a third of it is free,
    /// which a slow client may need longer for than the limit; so from the middle of the time on a write is tried.
    fn look_at_writes(&mut self, limit: Duration) {
        let Some(blocked_ms) = self.conn.blocked_for_ms() else { return };
        let blocked = Duration::from_millis(blocked_ms);
        if blocked >= limit {
            self.conn.stalled.store(true, Relaxed);
            self.give(Order::Sever);
        } else if blocked >= limit / 2 {
            self.conn.try_write.store(true, Relaxed);
            self.give(Order::Look);
        }
    }

    fn give(&mut self, order: Order) {
        self.order = self.order.max(Some(order));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Watched {
    /// Ready with an order, once each.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Poll<Order> {
        let mut posts = self.patrol.posts.borrow_mut();
        let post = &mut posts[self.key];
        if let Some(order) = post.order.take() {
            return Poll::Ready(order);
        }
        if !post.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            post.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Watched {
    /// It is another's connection than the one that the socket names. To be called before anybody else has `conn`.
    pub(super) fn rename(&mut self, peer: IpAddr) {
        let conn = self.patrol.conn(peer);
        conn.doing.store(self.conn.doing.load(Relaxed), Relaxed);
        conn.since_ms.store(self.conn.since_ms.load(Relaxed), Relaxed);
        self.patrol.posts.borrow_mut()[self.key].conn = conn.clone();
        self.conn = conn;
    }

    /// Gives an order again that could not be carried out when it came.
    pub(super) fn repeat(&self, order: Order) {
        self.patrol.posts.borrow_mut()[self.key].give(order);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // What is still open ends with the connection, and is not what the client reset.
        self.conn.resets_max.store(u32::MAX, Relaxed);
        self.patrol.posts.borrow_mut().remove(self.key);
    }
}

impl fmt::Debug for Patrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patrol").field("connections", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "patrol_tests.rs"]
mod tests;
