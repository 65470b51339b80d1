//! What came back.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

/// An answer as far as it was read. Whoever reads it holds to [`super::Case::timeout`] and
/// [`super::Case::answer_bytes_max`], and says in `end` if that cut it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Of HTTP/2 and chunked answers; gRPC says its status here.
    pub trailers: HeaderMap,
    /// Without transfer coding; a gRPC answer's with its message frames.
    pub body: Bytes,
    /// When which part of the body was there, in order; may be empty if nobody looked.
    pub arrivals: Vec<Arrival>,
    pub end: AnswerEnd,
    /// From the moment the request was sent to the last byte.
    pub took: Duration,
}

/// A piece of the body that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The body's length with this piece, in bytes.
    pub until: usize,
    /// Since the request was sent.
    pub at: Duration,
}

impl Arrival {
    /// Puts an arrival behind the others. A stream of tiny parts must not cost more to time than to keep: of very many, the
    /// last one stands for all that came after.
    pub fn note(self, arrivals: &mut Vec<Self>) {
        if arrivals.len() >= ARRIVALS_MAX {
            arrivals.pop();
        }
        arrivals.push(self);
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    Complete,
    /// The connection broke or the stream was reset; why.
    Cut(String),
    /// It is longer than it may be; the limit in bytes.
    TooLong(u64),
    /// It was not complete in time; the limit.
    TimedOut(Duration),
}

impl AnswerEnd {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            AnswerEnd::Complete => None,
            AnswerEnd::Cut(why) => Some(format!("an answer that was cut: {why}")),
            AnswerEnd::TooLong(limit) => Some(format!("an answer longer than {limit} bytes; reading was given up")),
            AnswerEnd::TimedOut(limit) => Some(format!("no end of it within {}", humantime::format_duration(*limit))),
        }
    }
}

impl Answer {
    /// A complete answer that was read in one piece.
    pub fn whole(status: u16, headers: HeaderMap, body: impl Into<Bytes>, took: Duration) -> Self {
        let body = body.into();
        let arrivals = vec![Arrival { until: body.len(), at: took }];
        Self { status, headers, trailers: HeaderMap::new(), body, arrivals, end: AnswerEnd::Complete, took }
    }

    /// The pieces of the body with their time; what no arrival names came at the end.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&[u8], Duration)> {
        let last = Arrival { until: self.body.len(), at: self.took };
        let mut from = 0;
        self.arrivals.iter().chain(std::iter::once(&last)).copied().collect::<Vec<_>>().into_iter().filter_map(
            move |arrival| {
                let until = arrival.until.clamp(from, self.body.len());
                let piece = &self.body[from..until];
                from = until;
                (!piece.is_empty()).then_some((piece, arrival.at))
            },
        )
    }
}

/// Arrivals that are kept of one answer.
const ARRIVALS_MAX: usize = 16_384;
