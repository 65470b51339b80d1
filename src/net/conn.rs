//! What is known of one client connection, by its stream, its task, its requests and the patrol.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use super::hush::{Bell, wakes_by_bell};

/// Time over which resets are counted.
const RESETS_WINDOW_MS: u64 = 10_000;

/// A connection without a request rests after this long: two ticks, far longer than it takes to build its buffers anew.
const REST_AFTER_MS: u64 = 200;

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
/// be `Send`; one thread uses it, so that a load and a store do where others need one locked instruction.
///
/// In the order written: what every write and every wake-up looks at is together, and comes first. With hundreds of
/// connections each line of memory has to be fetched anew for each of them.
#[derive(Debug)]
#[repr(C)]
pub struct ClientConn {
    /// Since when the client takes nothing of what is written, in milliseconds of the patrol's clock; or `NOT_BLOCKED`.
    blocked_since_ms: AtomicU64,
    doing: AtomicU8,
    is_http2: AtomicBool,
    /// The bytes are no longer HTTP.
    is_tunnel: AtomicBool,
    /// Bytes of an answer wait for the client to take them.
    pub(super) is_blocked: AtomicBool,
    has_interim: AtomicBool,
    /// Its client is looked for while a request is open, for which the runtime has to know the socket.
    is_watched: AtomicBool,
    /// The stream is to try a write, whatever it knows.
    try_write: AtomicBool,
    /// The request that is open may be told of what goes on before its answer (HTTP/1.1).
    takes_interim: AtomicBool,
    answering: AtomicBool,
    is_tls: AtomicBool,
    open: AtomicU32,
    /// Of the task that serves HTTP/1.1.
    bell: Bell,
    /// When `doing` last changed, in milliseconds of the patrol's clock.
    since_ms: AtomicU64,
    clock: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    /// Where in the connection's bytes the head ended that was read last, and where the next is to begin.
    head_end: AtomicU64,
    next_head: AtomicU64,
    body_end: AtomicU64,
    /// Bytes of the client's that have been read.
    read: AtomicU64,
    /// Never an IPv4 address in IPv6 form.
    pub peer: IpAddr,
    /// It was shown the names of fields whose values it is not to remember (HTTP/2).
    knows_names: AtomicBool,
    must_linger: AtomicBool,
    /// Its stream has refused a head.
    has_refused: AtomicBool,
    stalled: AtomicBool,
    cut: AtomicBool,
    /// Its task keeps no buffers: it rests already, or there are none yet.
    resting: AtomicBool,
    expelled: AtomicBool,
    /// Streams that were reset since `resets_since_ms`, as many as may be, and whether there were more.
    resets: AtomicU32,
    resets_max: AtomicU32,
    resets_since_ms: AtomicU64,
    interim: Mutex<Vec<u8>>,
}

wakes_by_bell!(ClientConn);

impl ClientConn {
    /// An idle connection. `clock` is the patrol's, in milliseconds; `closing` is true once shutdown has begun.
    pub(super) fn new(peer: IpAddr, clock: Arc<AtomicU64>, closing: Arc<AtomicBool>) -> Self {
        Self {
            peer,
            doing: AtomicU8::new(Doing::Idle as u8),
            since_ms: AtomicU64::new(clock.load(Relaxed)),
            clock,
            open: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            knows_names: AtomicBool::new(false),
            is_tls: AtomicBool::new(false),
            must_linger: AtomicBool::new(false),
            has_refused: AtomicBool::new(false),
            blocked_since_ms: AtomicU64::new(NOT_BLOCKED),
            try_write: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            resets: AtomicU32::new(0),
            resets_since_ms: AtomicU64::new(0),
            resets_max: AtomicU32::new(u32::MAX),
            expelled: AtomicBool::new(false),
            closing,
            takes_interim: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            has_interim: AtomicBool::new(false),
            interim: Mutex::default(),
            head_end: AtomicU64::new(UNKNOWN),
            next_head: AtomicU64::new(0),
            body_end: AtomicU64::new(UNKNOWN),
            read: AtomicU64::new(0),
            resting: AtomicBool::new(true),
            is_watched: AtomicBool::new(true),
            bell: Bell::default(),
        }
    }

    /// Takes over what another has done so far.
    pub(super) fn follow(&self, other: &Self) {
        self.doing.store(other.doing.load(Relaxed), Relaxed);
        self.since_ms.store(other.since_ms.load(Relaxed), Relaxed);
    }

    /// The client takes nothing, and is let go.
    pub(super) fn give_up(&self) {
        self.stalled.store(true, Relaxed);
    }

    /// A write is to be tried, whatever the kernel has told.
    pub(super) fn ask_for_a_try(&self) {
        self.try_write.store(true, Relaxed);
    }

    /// The client of a request that is open is looked for from now on, or is not for the time being.
    pub(super) fn set_watched(&self, watched: bool) {
        self.is_watched.store(watched, Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Relaxed)
    }

    /// From now on resets are not counted.
    pub(super) fn end_count_of_resets(&self) {
        self.resets_max.store(u32::MAX, Relaxed);
    }

    /// A request starts. `takes_interim`: its client knows answers of class 1xx (RFC 9110 section 15.2). `body_bytes`:
    /// how many bytes follow the head, if that is known.
    pub fn enter(&self, takes_interim: bool, body_bytes: Option<u64>) {
        let head_end = self.head_end.load(Relaxed);
        self.head_end.store(UNKNOWN, Relaxed);
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
        self.bell.ring();
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

    /// So many bytes have been read by now.
    pub(super) fn note_place(&self, place: u64) {
        self.read.store(place, Relaxed);
    }

    pub(super) fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Relaxed)
    }

    /// True if its task may let go of its buffers: HTTP/1.1, no request has been open for a while, the last one is known to
    /// have been read to its very end, and nothing waits to be written.
    pub(super) fn may_rest(&self) -> bool {
        self.doing() == Doing::Idle
            && self.for_ms() >= REST_AFTER_MS
            && !self.resting.load(Relaxed)
            && self.is_http1()
            && self.expects_head_at(self.read.load(Relaxed))
            && !self.is_blocked.load(Relaxed)
            && self.blocked_for_ms().is_none()
            && !self.lingers()
            && !self.is_cut()
    }

    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.has_interim.load(Relaxed) {
            return None;
        }
        self.has_interim.store(false, Relaxed);
        Some(std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)))
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

    /// True, once, on HTTP/2: a value that is not worth remembering is to be remembered this time for its name's sake.
    pub fn learns_names(&self) -> bool {
        let learns = self.is_http2() && !self.knows_names.load(Relaxed);
        if learns {
            self.knows_names.store(true, Relaxed);
        }
        learns
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

    pub(super) fn blocked_for_ms(&self) -> Option<u64> {
        let since = Some(self.blocked_since_ms.load(Relaxed)).filter(|since| *since != NOT_BLOCKED)?;
        Some(self.clock.load(Relaxed).saturating_sub(since))
    }

    pub(super) fn note_refusal(&self) {
        self.has_refused.store(true, Relaxed);
    }

    pub(super) fn has_refused(&self) -> bool {
        self.has_refused.load(Relaxed)
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

    pub(super) fn for_ms(&self) -> u64 {
        self.clock.load(Relaxed).saturating_sub(self.since_ms.load(Relaxed))
    }
}

const NOT_BLOCKED: u64 = u64::MAX;
