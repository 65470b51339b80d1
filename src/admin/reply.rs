//! Answers of the admin API, and bodies of its calls.

use axum::{
    body::Body,
    extract::rejection::BytesRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::api::{Problem, ProblemKind};

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Refused(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, &self.0)
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"error\":\"internal\",\"message\":\"{error}\"}}"));
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A call's body. An empty one says nothing and means the defaults; its content type does not matter, because people
/// call with curl.
pub(super) fn body<T: DeserializeOwned>(bytes: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let bytes = bytes.map_err(|error| {
        let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let kind = if too_large { ProblemKind::TooLarge } else { ProblemKind::Invalid };
        Problem::new(kind, format!("the body cannot be read: {error}"))
    })?;
    let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
    if text.trim_ascii_start().first() != Some(&b'{') {
        // serde would take an array for an object's fields in their order.
        return Err(Problem::new(ProblemKind::Invalid, "the body is not a JSON object")
            .hint("see /openapi.json for the fields"));
    }
    serde_json::from_slice(text).map_err(|error| {
        Problem::new(ProblemKind::Invalid, format!("the body is not what this call takes: {error}"))
            .hint("see /openapi.json for the fields")
    })
}
