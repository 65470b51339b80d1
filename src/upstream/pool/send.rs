//! What is known of a request that failed before its answer.

use std::error::Error as _;

use http::Request;

use super::RequestBody;
use crate::telemetry::FailureKind;
use crate::upstream::tls::tls_failure;

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

impl SendError {
    pub(super) fn new(mut error: hyper::client::conn::TrySendError<Request<RequestBody>>) -> Self {
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
