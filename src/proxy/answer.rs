//! Answers that the proxy makes itself: one place, for HTTP and gRPC alike.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};

use super::{
    body::AnswerBody,
    exchange::Exchange,
    forwards,
    headers::{self, Seen},
};
use crate::telemetry::FailureKind;

/// A request cannot be answered by an upstream.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// What happened, in words that may be shown to a client: no addresses.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What cannot be, and is told all the same.
pub(super) fn internal(what: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("a defect of the proxy: {what}"))
}

/// The answer to a failure: a JSON body with `x-verdigris-error`, or for a gRPC call a status without a message
/// ("trailers-only"), so that its client library reports the reason and not a protocol error.
pub(super) fn failure(exchange: &Rc<Exchange>, failure: &Failure, version: Version) -> Response<AnswerBody> {
    exchange.fail(failure.kind);
    let mut answer = if exchange.is_grpc { grpc(exchange, failure) } else { json(exchange, failure) };
    let fields = answer.headers_mut();
    fields.insert("x-verdigris-error", HeaderValue::from_static(failure.kind.as_str()));
    headers::mark(fields, Seen::default(), exchange);
    if failure.kind == FailureKind::MethodRefused {
        fields.insert(header::ALLOW, HeaderValue::from_static(forwards::METHODS));
    }
    let unasked = exchange.leaves_body_unasked();
    if (closes(failure.kind) || unasked) && version < Version::HTTP_2 {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if version < Version::HTTP_2 {
        // The rest of a body may still come; a reset for it must not erase the answer (RFC 9112 section 9.6).
        exchange.client.conn.must_linger();
    }
    exchange.answered(answer.status().as_u16(), false);
    answer
}

/// The whole answer on HTTP/1.1 to a head that never became a request. The connection closes after it.
pub(super) fn before_request(kind: FailureKind, request_id: &HeaderValue) -> Bytes {
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let reason = status.canonical_reason().unwrap_or_default();
    let request_id = request_id.to_str().unwrap_or_default();
    let message = match kind {
        FailureKind::HeaderTimeout => "the request's head did not come in time",
        FailureKind::HeadersTooLarge => "the request's head has too many fields or bytes",
        FailureKind::UriTooLong => "the request's target is too long",
        _ => "the request's head is malformed",
    };
    let text = serde_json::json!({ "error": kind.as_str(), "message": message, "request_id": request_id });
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         date: {date}\r\nx-request-id: {request_id}\r\nx-verdigris-error: {kind}\r\n\r\n{text}\n",
        status.as_str(),
        text.to_string().len() + 1,
    )
    .into()
}

/// True if the connection cannot go on: its framing is not to be trusted, or the rest of a body is still to come.
fn closes(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::BadRequest
            | FailureKind::UnknownCoding
            | FailureKind::ClientBody
            | FailureKind::BodyTooLarge
            | FailureKind::BodyTimeout
            | FailureKind::MethodRefused
    )
}

fn json(exchange: &Rc<Exchange>, failure: &Failure) -> Response<AnswerBody> {
    let place =
        exchange.with_held(|held| (held.service.service.settings.name.to_string(), held.slot.table.slot.as_str()));
    let mut object = serde_json::Map::new();
    object.insert("error".into(), failure.kind.as_str().into());
    object.insert("message".into(), failure.message.as_str().into());
    if let Some((service, slot)) = place {
        object.insert("service".into(), service.into());
        object.insert("slot".into(), slot.into());
    }
    object.insert("request_id".into(), exchange.request_id.to_str().unwrap_or_default().into());
    let mut text = serde_json::Value::Object(object).to_string();
    text.push('\n');
    let mut answer = Response::new(AnswerBody::own(Bytes::from(text), exchange));
    *answer.status_mut() = StatusCode::from_u16(failure.kind.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(failure.kind.status(), 429 | 503) {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn grpc(exchange: &Rc<Exchange>, failure: &Failure) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::own(Bytes::new(), exchange));
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(u16::from(failure.kind.grpc_status())));
    let message = percent_encoded(&format!("{}: {}", failure.kind, failure.message));
    if let Ok(value) = HeaderValue::from_str(&message) {
        fields.insert("grpc-message", value);
    }
    answer
}

/// The status of a call that is ended after its answer began.
pub(super) fn grpc_trailers(kind: FailureKind) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(u16::from(kind.grpc_status())));
    fields.insert("grpc-message", HeaderValue::from_static(kind.as_str()));
    fields
}

/// As gRPC over HTTP/2 wants `grpc-message`: printable ASCII but `%`, the rest as `%XX`.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_messages_are_ascii() {
        assert_eq!(percent_encoded("100% ä\n"), "100%25 %C3%A4%0A");
    }
}
