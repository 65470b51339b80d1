//! A request body on its way upstream, kept as far as a replay may need it.
//!
//! The bytes are handed on as they come and, up to a bound, also kept. When a reused connection dies before an answer
//! began, a second attempt reads what was kept and then goes on with the client's stream. Once an answer begins, or the
//! bound is passed, nothing more is kept.

use std::{
    cell::{Cell, RefCell},
    fmt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::{
    expectation::{Expectation, HeldBack},
    lease::Lease,
};
use crate::{net::hush::poll_body, telemetry::FailureKind};

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyFailed {
    #[error("the client's request body broke off or was malformed: {0}")]
    Client(#[source] hyper::Error),
    #[error("the client's request body is longer than the service takes")]
    TooLarge,
    #[error("the client sent nothing of its request body for too long")]
    Stalled,
    #[error("the client reset its stream before the end of its request body")]
    Reset,
    #[error("the attempt was given up for a replay")]
    Superseded,
}

/// What the replay buffers of one worker may hold together, in bytes.
#[derive(Debug)]
pub struct ReplayBudget {
    left: Cell<usize>,
}

impl ReplayBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let enough = self.left.get() >= bytes;
        if enough {
            self.left.set(self.left.get() - bytes);
        }
        enough
    }
}

/// What a request body may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyBounds {
    /// Bytes of it; `None`: any number.
    pub bytes_max: Option<u64>,
    /// Bytes kept of it for a replay, if the budget allows; 0 keeps nothing.
    pub kept_max: usize,
    /// The client may be silent inside it for as long as it likes: a gRPC stream waits for something to say.
    pub may_pause: bool,
    /// The client marks its end with END_STREAM, and nothing else is one.
    pub is_http2: bool,
}

/// Sees a request body once, as it comes from the client, however often it is sent. Must neither block nor fail.
pub trait Witness: fmt::Debug {
    fn data(&self, data: &Bytes);
    /// The client's last byte has been read.
    fn ended(&self);
}

/// A client's request body, shared by the attempts to send it.
#[derive(Clone)]
pub struct SharedBody(Rc<Inner>);

struct Inner {
    state: RefCell<State>,
    budget: Rc<ReplayBudget>,
    bounds: BodyBounds,
}

struct State {
    incoming: Incoming,
    /// Most bodies come in one piece.
    kept: SmallVec<[Bytes; 1]>,
    kept_bytes: usize,
    kept_trailers: Option<HeaderMap>,
    keeping: bool,
    /// The attempt that may read; earlier ones are given up.
    attempt: u32,
    ended: bool,
    /// Bytes read from the client.
    read_bytes: u64,
    /// What the client did wrong.
    fault: Option<FailureKind>,
    /// Something has been read from the client.
    touched: bool,
    /// An answer has begun.
    answered: bool,
    /// The client waits to be asked for the body.
    held_back: Option<HeldBack>,
    witness: Option<Rc<dyn Witness>>,
}

/// One attempt's view of a request body.
pub enum RequestBody {
    Empty,
    /// Boxed, because the HTTP library hands a request on a dozen times before it is written.
    Shared(Box<Attempt>),
}

/// A reader of a [`SharedBody`]. It holds the lease, so that a slot is not drained while a body is still sent to it.
pub struct Attempt {
    body: SharedBody,
    attempt: u32,
    position: usize,
    trailers_sent: bool,
    /// The server could take more than the client has sent.
    waits: bool,
    lease: Lease,
    /// How long the answer may take to begin, counted from the end of this body.
    first_byte: Option<Duration>,
}

impl SharedBody {
    /// Wraps a client's body.
    pub fn new(incoming: Incoming, bounds: BodyBounds, budget: &Rc<ReplayBudget>) -> Self {
        let state = State {
            incoming,
            kept: SmallVec::new(),
            kept_bytes: 0,
            kept_trailers: None,
            keeping: bounds.kept_max > 0,
            attempt: 0,
            ended: false,
            read_bytes: 0,
            fault: None,
            touched: false,
            answered: false,
            held_back: None,
            witness: None,
        };
        Self(Rc::new(Inner { state: RefCell::new(state), budget: budget.clone(), bounds }))
    }

    /// A new attempt, reading from the start. Earlier attempts fail from here on. When the body's end has been read,
    /// the lease gets `first_byte` as its deadline.
    pub fn attempt(&self, lease: Lease, first_byte: Option<Duration>) -> RequestBody {
        let mut state = self.0.state.borrow_mut();
        state.attempt += 1;
        RequestBody::Shared(Box::new(Attempt {
            body: self.clone(),
            attempt: state.attempt,
            position: 0,
            trailers_sent: false,
            waits: false,
            lease,
            first_byte,
        }))
    }

    /// Reads nothing from the client until the expectation is fulfilled.
    pub fn hold_back(&self, expectation: Arc<Expectation>) {
        self.0.state.borrow_mut().held_back = Some(HeldBack::new(expectation));
    }

    /// Has somebody see all of it; to be called before the first attempt.
    pub fn show_to(&self, witness: Rc<dyn Witness>) {
        self.0.state.borrow_mut().witness = Some(witness);
    }

    /// True while everything read from the client so far is still at hand.
    pub fn is_whole(&self) -> bool {
        let state = self.0.state.borrow();
        state.fault.is_none() && (state.keeping || !state.touched)
    }

    /// What the client did wrong, if it was the client's stream that failed.
    pub fn fault(&self) -> Option<FailureKind> {
        self.0.state.borrow().fault
    }

    /// True once the client's last byte has been read.
    pub fn has_ended(&self) -> bool {
        self.0.state.borrow().ended
    }

    /// An answer has begun: nothing is kept any longer.
    pub fn stop_keeping(&self) {
        let mut state = self.0.state.borrow_mut();
        state.keeping = false;
        state.answered = true;
    }
}

impl Inner {
    fn keep(&self, state: &mut State, data: &Bytes) {
        if !state.keeping {
            return;
        }
        let fits = state.kept_bytes + data.len() <= self.bounds.kept_max;
        if fits && self.budget.take(data.len()) {
            state.kept_bytes += data.len();
            state.kept.push(data.clone());
        } else {
            state.keeping = false;
        }
    }

    fn forget(&self, state: &mut State) {
        state.kept = SmallVec::new();
        self.budget.left.set(self.budget.left.get() + std::mem::take(&mut state.kept_bytes));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let kept = self.state.get_mut().kept_bytes;
        self.budget.left.set(self.budget.left.get() + kept);
    }
}

impl Attempt {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let inner = self.body.0.clone();
        let state = &mut *inner.state.borrow_mut();
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(BodyFailed::Superseded)));
        }
        if let Some(data) = state.kept.get(self.position) {
            self.position += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if !state.keeping && !state.kept.is_empty() {
            inner.forget(state);
            self.position = 0;
        }
        if state.ended {
            let trailers = state.kept_trailers.clone().filter(|_| !std::mem::replace(&mut self.trailers_sent, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if let Some(held_back) = &mut state.held_back {
            if ready!(held_back.poll(cx)).is_err() {
                return Poll::Ready(Some(Err(BodyFailed::Superseded)));
            }
            state.held_back = None;
        }
        match poll_body(&mut state.incoming, cx) {
            Poll::Ready(frame) => {
                self.stop_waiting();
                if state.answered {
                    // What the client still sends keeps a conversation alive, too.
                    self.lease.touch();
                }
                Poll::Ready(self.take_down(&inner, state, frame))
            }
            Poll::Pending if inner.bounds.may_pause => Poll::Pending,
            Poll::Pending => {
                self.waits = true;
                ready!(self.lease.poll_body_patience(cx));
                state.fault = Some(FailureKind::BodyTimeout);
                Poll::Ready(Some(Err(BodyFailed::Stalled)))
            }
        }
    }

    /// The client is no longer waited for.
    fn stop_waiting(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.lease.body_came();
        }
    }

    /// Notes what came from the client.
    fn take_down(
        &mut self,
        inner: &Inner,
        state: &mut State,
        frame: Option<hyper::Result<Frame<Bytes>>>,
    ) -> Option<Result<Frame<Bytes>, BodyFailed>> {
        state.touched = true;
        match frame {
            // A reset with NO_ERROR looks like an end to the HTTP library; half a body must not look whole upstream.
            None if inner.bounds.is_http2 && !state.incoming.is_end_stream() => {
                state.fault = Some(FailureKind::ClientBody);
                return Some(Err(BodyFailed::Reset));
            }
            None => self.end(state),
            Some(Err(error)) => {
                state.fault = Some(FailureKind::ClientBody);
                return Some(Err(BodyFailed::Client(error)));
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state.read_bytes += data.len() as u64;
                    if inner.bounds.bytes_max.is_some_and(|most| state.read_bytes > most) {
                        state.fault = Some(FailureKind::BodyTooLarge);
                        return Some(Err(BodyFailed::TooLarge));
                    }
                    if let Some(witness) = &state.witness {
                        witness.data(data);
                    }
                    inner.keep(state, data);
                    self.position = state.kept.len();
                    if state.incoming.is_end_stream() {
                        self.end(state);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    state.kept_trailers = Some(trailers.clone());
                    self.trailers_sent = true;
                    self.end(state);
                }
                return Some(Ok(frame));
            }
        }
        None
    }

    /// The request is out: the answer's time starts to run, unless it has begun.
    fn end(&self, state: &mut State) {
        state.ended = true;
        if let Some(witness) = state.witness.take() {
            witness.ended();
        }
        if !state.answered && self.first_byte.is_some() {
            self.lease.expect_within(self.first_byte);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Shared(attempt) => attempt.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Shared(attempt) => {
                let state = attempt.body.0.state.borrow();
                let all_read = attempt.position >= state.kept.len();
                let trailers_left = state.kept_trailers.is_some() && !attempt.trailers_sent;
                all_read && !trailers_left && (state.ended || state.incoming.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Shared(attempt) => {
                let state = attempt.body.0.state.borrow();
                let kept: u64 = state.kept.iter().skip(attempt.position).map(|data| data.len() as u64).sum();
                let rest = state.incoming.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower() + kept);
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + kept);
                }
                hint
            }
        }
    }
}

impl fmt::Debug for SharedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBody").finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestBody::Empty => "RequestBody::Empty",
            RequestBody::Shared(_) => "RequestBody::Shared",
        })
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
