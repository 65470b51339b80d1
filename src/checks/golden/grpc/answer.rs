//! The status of a gRPC call: in the trailers or, of an answer without a body, in the headers.

use http::HeaderMap;

use crate::checks::golden::answer::Answer;

/// What the server said at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::checks::golden) struct GrpcStatus {
    pub(in crate::checks::golden) code: u32,
    pub(in crate::checks::golden) message: String,
}

/// The status of a call; `None` if the server never said one.
pub(in crate::checks::golden) fn status_of(answer: &Answer) -> Option<GrpcStatus> {
    let read = |fields: &HeaderMap| {
        let code = fields.get("grpc-status")?.to_str().ok()?.trim().parse().ok()?;
        let message = fields.get("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        Some(GrpcStatus { code, message: message.unwrap_or_default() })
    };
    read(&answer.trailers).or_else(|| read(&answer.headers))
}

/// `NOT_FOUND` for 5; the number for a code that gRPC does not know.
pub(in crate::checks::golden) fn status_name(code: u32) -> String {
    let known = usize::try_from(code).ok().and_then(|index| STATUS_NAMES.get(index));
    known.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

/// In the order of their numbers.
pub(in crate::checks::golden) const STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
