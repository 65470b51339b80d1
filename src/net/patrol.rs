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
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    conn::{ClientConn, Doing},
    epoch::Epoch,
};
use crate::config::settings::Limits;

/// What a connection's task is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Nothing has been open for a while: give memory back.
    Rest,
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
    /// Orders so far.
    given: Cell<u64>,
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
    looked: Cell<Option<Epoch>>,
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
            given: Cell::new(0),
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
                post.look_at_writes(&self.given, limit);
            }
            let limit = match post.conn.doing() {
                Doing::Busy => {
                    // The request lasts, and its client may go meanwhile.
                    if !post.conn.is_watched() {
                        post.conn.set_watched(true);
                        post.give(&self.given, Order::Look);
                    }
                    continue;
                }
                Doing::Head => limits.header_timeout,
                Doing::Idle => limits.idle_timeout,
            };
            if post.conn.may_rest() {
                post.give(&self.given, Order::Rest);
            }
            let doing_for = Duration::from_millis(post.conn.for_ms());
            if doing_for >= limit {
                post.give(&self.given, Order::Expire);
            }
            // An HTTP/2 connection without a request that has not ended by itself has a client that leaves the last part
            // of an answer where it is.
            if post.conn.is_http2() && limits.send_timeout.is_some_and(|send| doing_for >= limit + send) {
                post.give(&self.given, Order::Sever);
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
            post.give(&self.given, Order::Sever);
        }
    }

    fn order_all(&self, order: Order) {
        self.standing_order.set(Some(order));
        for (_, post) in self.posts.borrow_mut().iter_mut() {
            post.give(&self.given, order);
        }
    }

    pub(super) fn watch(self: &Rc<Self>, peer: IpAddr) -> Watched {
        let conn = self.conn(peer);
        let post = Post { conn: conn.clone(), order: self.standing_order.get(), waker: None };
        Watched { patrol: self.clone(), key: self.posts.borrow_mut().insert(post), looked: Cell::new(None), conn }
    }

    /// What is known of a connection from there, before it is watched.
    pub(crate) fn conn(&self, peer: IpAddr) -> Arc<ClientConn> {
        Arc::new(ClientConn::new(peer, self.clock.clone(), self.closing.clone()))
    }
}

impl Post {
    /// Lets go of a client that takes nothing. The kernel tells of room in its buffer only when a third of it is free,
    /// which a slow client may need longer for than the limit; so from the middle of the time on a write is tried.
    fn look_at_writes(&mut self, given: &Cell<u64>, limit: Duration) {
        let Some(blocked_ms) = self.conn.blocked_for_ms() else { return };
        let blocked = Duration::from_millis(blocked_ms);
        if blocked >= limit {
            self.conn.give_up();
            self.give(given, Order::Sever);
        } else if blocked >= limit / 2 {
            self.conn.ask_for_a_try();
            self.give(given, Order::Look);
        }
    }

    fn give(&mut self, given: &Cell<u64>, order: Order) {
        given.set(given.get() + 1);
        self.order = self.order.max(Some(order));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Watched {
    /// Ready with an order, once each.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Poll<Order> {
        let now = Epoch::new(self.patrol.given.get(), cx);
        if self.looked.get() == Some(now) {
            return Poll::Pending;
        }
        let mut posts = self.patrol.posts.borrow_mut();
        let post = &mut posts[self.key];
        if let Some(order) = post.order.take() {
            return Poll::Ready(order);
        }
        if !post.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            post.waker = Some(cx.waker().clone());
        }
        self.looked.set(Some(now));
        Poll::Pending
    }
}

impl Watched {
    /// It is another's connection than the one that the socket names. To be called before anybody else has `conn`.
    pub(super) fn rename(&mut self, peer: IpAddr) {
        let conn = self.patrol.conn(peer);
        conn.follow(&self.conn);
        self.patrol.posts.borrow_mut()[self.key].conn = conn.clone();
        self.conn = conn;
    }

    /// Gives an order again that could not be carried out when it came.
    pub(super) fn repeat(&self, order: Order) {
        self.patrol.posts.borrow_mut()[self.key].give(&self.patrol.given, order);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // What is still open ends with the connection, and is not what the client reset.
        self.conn.end_count_of_resets();
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
