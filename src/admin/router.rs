//! Which path leads to which handler.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::{delete, get, post, put},
};

use super::{
    admission, answer::Refusal, changes, drains, events, openapi, page, probes, recordings, services, shared::Shared,
    slot_gate,
};
use crate::api::{Problem, ProblemKind};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let router = Router::new()
        .route("/v1/services", get(services::list))
        .route("/v1/services/{service}", get(services::one))
        .route("/v1/services/{service}/history", get(services::history))
        .route("/v1/services/{service}/switch", post(changes::switch))
        .route("/v1/services/{service}/rollback", post(changes::rollback))
        .route("/v1/services/{service}/change", delete(changes::cancel))
        .route("/v1/services/{service}/slots/{slot}", put(changes::replace_slot))
        .route("/v1/services/{service}/slots/{slot}/test", post(slot_gate::test_slot).delete(slot_gate::cancel_test))
        .route("/v1/services/{service}/slots/{slot}/drain", get(drains::status).post(drains::begin))
        .route("/v1/services/{service}/slots/{slot}/record", get(recordings::progress).post(recordings::record))
        .route("/v1/config/reload", post(changes::reload))
        .route("/v1/events", get(events::events))
        .route("/events", get(events::events))
        .route("/metrics", get(probes::metrics))
        .route("/live", get(probes::live))
        .route("/ready", get(probes::ready))
        .route("/openapi.json", get(openapi::serve))
        .merge(page::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method);
    router.layer(from_fn_with_state(shared.clone(), admission::admit)).layer(map_response(protect)).with_state(shared)
}

async fn no_such_path(request: Request) -> Refusal {
    let problem = Problem::new(ProblemKind::NotFound, format!("there is no path {:?}", shown(&request)));
    problem.hint("/openapi.json lists the paths; services are under /v1/services").into()
}

async fn no_such_method(request: Request) -> Refusal {
    let method: String = request.method().as_str().chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("{method} is not a method of {:?}", shown(&request));
    Problem::new(ProblemKind::MethodNotAllowed, message)
        .hint("the field \"allow\" of this answer lists the methods")
        .into()
}

/// A stranger's path must not make a page of a message.
fn shown(request: &Request) -> String {
    request.uri().path().chars().take(SHOWN_CHARS_MAX).collect()
}

/// What a browser must not do with any answer.
async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
}

const SHOWN_CHARS_MAX: usize = 80;
