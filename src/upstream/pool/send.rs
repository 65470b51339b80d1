//! A request on its way to the head of its answer, and what is known of it if it fails before.

use std::{
    error::Error as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};
use pin_project_lite::pin_project;

use super::RequestBody;
use crate::{
    telemetry::FailureKind,
    upstream::{WireFacts, tls::tls_failure},
};

/// A request failed before the head of its answer was complete.
#[derive(Debug, thiserror::Error)]
#[error("{}", in_words(source))]
pub struct SendError {
    /// The request itself, if it never left the queue.
    pub unsent: Option<Box<Request<RequestBody>>>,
    /// Bytes of it may have been written.
    pub was_written: bool,
    /// Bytes of an answer came.
    pub answer_began: bool,
    /// The server said that it did not process it (RFC 9113 sections 6.8 and 8.7).
    pub was_refused: bool,
    pub source: hyper::Error,
}

/// What the HTTP library gives for a request.
pub(super) trait Answer:
    Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>
{
}

impl<F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>> Answer for F {}

pin_project! {
    /// A request that was given to its connection. Not an `async fn`, which would have room for all of it twice.
    pub(super) struct Sending<'c, H1, H2> {
        #[pin]
        pub(super) sent: Sent<H1, H2>,
        pub(super) facts: &'c WireFacts,
        // What the wire had seen before it was sent.
        pub(super) before: (u64, u64),
        pub(super) has_wire_alone: bool,
    }
}

pin_project! {
    #[project = SentProjection]
    pub(super) enum Sent<H1, H2> {
        H1 { #[pin] sent: H1 },
        H2 { #[pin] sent: H2 },
    }
}

impl<H1: Answer, H2: Answer> Future for Sending<'_, H1, H2> {
    type Output = Result<Response<Incoming>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.sent.project() {
            SentProjection::H1 { sent } => ready!(sent.poll(cx)),
            SentProjection::H2 { sent } => ready!(sent.poll(cx)),
        };
        Poll::Ready(answer.map_err(|error| {
            let (written, read) = this.facts.snapshot();
            let mut failure = SendError::new(error);
            // Where streams share the wire, unwritten bytes prove something; written ones are not surely this request's.
            failure.was_written &= written != this.before.0;
            failure.answer_began = *this.has_wire_alone && read != this.before.1;
            failure
        }))
    }
}

impl SendError {
    fn new(mut error: TrySendError<Request<RequestBody>>) -> Self {
        let unsent = error.take_message().map(Box::new);
        let source = error.into_error();
        let was_refused = refused(&source);
        Self { was_written: unsent.is_none(), unsent, answer_began: false, was_refused, source }
    }

    /// True if sending it again cannot make the server do anything twice.
    pub fn is_surely_unprocessed(&self) -> bool {
        !self.was_written || self.was_refused
    }

    /// The word for it.
    pub fn kind(&self) -> FailureKind {
        if tls_failure(&self.source).is_some() {
            FailureKind::UpstreamTls
        } else if self.source.is_parse() || self.source.is_parse_too_large() {
            FailureKind::UpstreamMalformed
        } else {
            FailureKind::UpstreamClosed
        }
    }
}

fn in_words(error: &hyper::Error) -> String {
    tls_failure(error).unwrap_or_else(|| error.to_string())
}

/// REFUSED_STREAM, or a GOAWAY(NO_ERROR) that came before the stream was taken up.
fn refused(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let reason = h2.reason();
            return h2.is_remote()
                && (reason == Some(h2::Reason::REFUSED_STREAM)
                    || (h2.is_go_away() && reason == Some(h2::Reason::NO_ERROR)));
        }
        source = cause.source();
    }
    false
}
