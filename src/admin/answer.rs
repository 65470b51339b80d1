//! Answers: JSON bodies and refusals.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::api::{Problem, ProblemKind};

/// What a handler comes to.
pub(super) type Answer = Result<Response, Refusal>;

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Box<Problem>);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &*self.0);
        if self.0.error == ProblemKind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON body. It says what is now, so nobody may keep it.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let kind = HeaderValue::from_static("application/json");
            let fresh = HeaderValue::from_static("no-cache");
            (status, [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, fresh)], bytes).into_response()
        }
        // Only a map with keys that are no strings can fail, and the API has none.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// 200 with a JSON body if it is done, else 202.
pub(super) fn done_or_under_way(done: bool, value: &impl Serialize) -> Response {
    json(if done { StatusCode::OK } else { StatusCode::ACCEPTED }, value)
}

/// 200 with a JSON body.
pub(super) fn ok(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}
