//! The body of an answer, which holds its request's exchange until the last byte.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    answer,
    exchange::Exchange,
    headers::{self, Seen},
};
use crate::{
    net::{hush::poll_body, moment},
    shadow::Tee,
    telemetry::FailureKind,
    upstream::{
        Conn, InFlight, SharedBody,
        lease::{Interrupt, Lease, LeaseKind, Vigil},
    },
};

/// Why an answer ended early. hyper turns it into a connection closed without a last chunk, or RST_STREAM: visible.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerBroken {
    #[error("the upstream's answer broke off: {0}")]
    Upstream(#[source] hyper::Error),
    /// An error code of the upstream's that would tell the client something else than what happened.
    #[error("the upstream's answer broke off: {0}")]
    Reset(hyper::Error),
    #[error("cut: {0}")]
    Cut(FailureKind),
}

/// The body of an answer.
pub(super) enum AnswerBody {
    /// The proxy's own words.
    Own { text: Option<Bytes>, exchange: Option<Rc<Exchange>> },
    /// An upstream's.
    Relayed(Box<Relay>),
}

/// An upstream's body on its way to the client. In the order written: what each part needs comes first, because with
/// hundreds of streams each line of memory has to be fetched anew for each of them.
#[repr(C)]
pub(super) struct Relay {
    incoming: Incoming,
    vigil: Option<Vigil>,
    /// Told at the next look, so that what came before it has left by then.
    broken: Option<AnswerBroken>,
    /// HTTP/2: the last part may still wait for the client to open its window. (A blocked HTTP/1.1 connection is the
    /// patrol's matter.)
    untaken: Option<bool>,
    /// A gRPC answer with a second message is a stream.
    watch_messages: bool,
    /// Only the connection's end tells the client where the body ends.
    until_close: bool,
    /// The request's body, if it had not ended when the answer began.
    request: Option<SharedBody>,
    /// Taken when the body has ended.
    open: Option<Open>,
}

/// What is held while a body is open.
#[repr(C)]
struct Open {
    exchange: Rc<Exchange>,
    /// Copies the answer, if somebody wants it.
    tee: Option<Rc<Tee>>,
    frames: u32,
    /// May serve another request afterwards; with what the server said of its patience.
    reusable: bool,
    keep_alive: Option<Duration>,
    _in_flight: InFlight,
    conn: Conn,
}

/// What a relay is made of.
pub(super) struct RelayParts {
    pub(super) incoming: Incoming,
    pub(super) lease: Lease,
    pub(super) request: Option<SharedBody>,
    pub(super) exchange: Rc<Exchange>,
    pub(super) conn: Conn,
    pub(super) in_flight: InFlight,
    pub(super) reusable: bool,
    pub(super) keep_alive: Option<Duration>,
    pub(super) watch_messages: bool,
    pub(super) idle: Option<Duration>,
    pub(super) until_close: bool,
    pub(super) tee: Option<Rc<Tee>>,
}

impl AnswerBody {
    /// The proxy's own words; may be empty.
    pub(super) fn own(text: Bytes, exchange: &Rc<Exchange>) -> Self {
        let text = (!text.is_empty()).then_some(text);
        if text.is_none() {
            exchange.completed(Instant::now());
        }
        AnswerBody::Own { text, exchange: Some(exchange.clone()) }
    }

    /// Passes an upstream's body on.
    pub(super) fn relay(parts: RelayParts) -> Self {
        let untaken = parts.exchange.client.conn.is_http2().then_some(false);
        let open = Open {
            exchange: parts.exchange,
            conn: parts.conn,
            _in_flight: parts.in_flight,
            reusable: parts.reusable,
            keep_alive: parts.keep_alive,
            frames: 0,
            tee: parts.tee,
        };
        let mut relay = Relay {
            incoming: parts.incoming,
            open: Some(open),
            vigil: Some(Vigil::new(parts.lease, parts.idle)),
            request: parts.request,
            untaken,
            watch_messages: parts.watch_messages,
            broken: None,
            until_close: parts.until_close,
        };
        if relay.incoming.is_end_stream() {
            relay.finish();
        }
        AnswerBody::Relayed(Box::new(relay))
    }
}

impl Drop for Relay {
    /// As at any other end, the lease goes after all that it was held for.
    fn drop(&mut self) {
        self.open = None;
        self.vigil = None;
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        if let Some(vigil) = &mut self.vigil
            && let Poll::Ready(interrupt) = vigil.poll_interrupt(cx)
        {
            let kind = match interrupt {
                Interrupt::Cut => FailureKind::DrainCut,
                Interrupt::TimedOut => FailureKind::UpstreamIdle,
                Interrupt::OverLimit(kind) => kind,
            };
            self.fail(kind);
            if kind == FailureKind::DeadlineExceeded {
                return Poll::Ready(Some(Ok(Frame::trailers(answer::grpc_trailers(kind)))));
            }
            return Poll::Ready(Some(Err(AnswerBroken::Cut(kind))));
        }
        self.set_untaken(false);
        let polled = poll_body(&mut self.incoming, cx);
        // The upstream's time runs while something is awaited from it, and never while the client is the slow one.
        if let Some(vigil) = &mut self.vigil {
            vigil.set_waiting(polled.is_pending());
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.note(&frame);
                Poll::Ready(Some(Ok(if frame.is_trailers() { without_hop_fields(frame) } else { frame })))
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(self.upstream_failure());
                // hyper ends the connection at once, with a head and a part that it has not written yet.
                self.broken = Some(broken(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// A part of the answer came.
    fn note(&mut self, frame: &Frame<Bytes>) {
        if let Some(tee) = self.open.as_ref().and_then(|open| open.tee.as_ref()) {
            copy(tee, frame);
        }
        if frame.is_data() && self.watch_messages {
            self.count_message();
        }
        self.note_flow();
        // Nothing follows trailers, and nobody asks after them.
        if frame.is_trailers() || self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn lease(&self) -> Option<&Lease> {
        self.vigil.as_ref().map(Vigil::lease)
    }

    /// A part of the answer came: it is for the client to take, and gives it time to go on with its request.
    fn note_flow(&mut self) {
        self.set_untaken(true);
        if let (Some(_), Some(lease)) = (&self.request, self.lease()) {
            lease.renew_body_patience();
        }
    }

    fn set_untaken(&mut self, now: bool) {
        if let (Some(before), Some(vigil)) = (&mut self.untaken, &self.vigil)
            && std::mem::replace(before, now) != now
        {
            vigil.lease().set_untaken(now);
        }
    }

    /// An upstream that was left alone by a client in the middle of its request is not to blame.
    fn upstream_failure(&self) -> FailureKind {
        self.request.as_ref().and_then(SharedBody::fault).unwrap_or(FailureKind::UpstreamCut)
    }

    fn count_message(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.frames += 1;
        if open.frames == 2 {
            self.watch_messages = false;
            if let Some(lease) = self.lease() {
                lease.classify(LeaseKind::Stream);
                lease.lift_limit(FailureKind::RequestTimeout);
            }
        }
    }

    /// The last byte has been handed over.
    fn finish(&mut self) {
        let Some(open) = self.open.take() else { return };
        let now = moment();
        open.exchange.completed(now);
        if let Some(tee) = &open.tee {
            tee.finish();
        }
        if open.reusable {
            open.conn.give_back(now, open.keep_alive);
        }
        self.vigil = None;
    }

    fn fail(&mut self, kind: FailureKind) {
        if let Some(open) = self.open.take() {
            if self.until_close {
                open.exchange.client.conn.cut();
            }
            open.exchange.fail(kind);
        }
        self.vigil = None;
    }
}

pub(super) fn copy(tee: &Tee, frame: &Frame<Bytes>) {
    if let Some(data) = frame.data_ref() {
        tee.answer_data(data);
    } else if let Some(trailers) = frame.trailers_ref() {
        tee.answer_trailers(trailers);
    }
}

/// Trailers end their hop as heads do: HTTP/2 would reset the stream for such a field (RFC 9113 section 8.2.2).
fn without_hop_fields(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        // An answer's trailers have no use for it, and it would bring a `Connection` along.
        trailers.remove(http::header::TE);
        let seen = Seen::of(trailers);
        headers::end_hop(trailers, seen);
    }
    frame
}

/// hyper passes an HTTP/2 error code on to the client. Two of them would be lies: NO_ERROR says that the answer is
/// complete, REFUSED_STREAM that nothing was done (RFC 9113 sections 7 and 8.1); INTERNAL_ERROR takes their place.
fn broken(error: hyper::Error) -> AnswerBroken {
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        if let Some(known) = source.downcast_ref::<h2::Error>() {
            let lies = matches!(known.reason(), Some(h2::Reason::NO_ERROR | h2::Reason::REFUSED_STREAM));
            return if lies { AnswerBroken::Reset(error) } else { AnswerBroken::Upstream(error) };
        }
        cause = source.source();
    }
    AnswerBroken::Upstream(error)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        match self.get_mut() {
            AnswerBody::Own { text, exchange } => {
                if let Some(exchange) = exchange.take() {
                    exchange.completed(Instant::now());
                }
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
            AnswerBody::Relayed(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own { text, .. } => text.is_none(),
            AnswerBody::Relayed(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own { text, .. } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            AnswerBody::Relayed(relay) => relay.incoming.size_hint(),
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnswerBody::Own { .. } => "AnswerBody::Own",
            AnswerBody::Relayed(_) => "AnswerBody::Relayed",
        })
    }
}
