//! The OpenAPI document, made from the same types and handlers that serve. `docs/openapi.json` holds it; a test keeps
//! the two the same.

use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;

use super::{calls, events, probes, reply};
use crate::api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Verdigris admin API",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        description = "Moves traffic between two slots of a service, and says how it stands. Durations are milliseconds with the unit in the name; times are RFC 3339 in UTC."
    ),
    paths(
        calls::services,
        calls::service,
        calls::switch,
        calls::rollback,
        calls::replace_slot,
        calls::test,
        calls::drain,
        calls::begin_drain,
        calls::history,
        calls::reload,
        events::events,
        probes::live,
        probes::ready,
        probes::metrics,
    ),
    components(schemas(api::Event))
)]
struct Document;

/// The document as text.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

pub(super) async fn serve() -> Response {
    let value: serde_json::Value = serde_json::from_str(&document()).unwrap_or_default();
    reply::json(axum::http::StatusCode::OK, &value).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_document_is_the_one_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let text = super::document() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &text).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(checked_in, text, "run the tests with UPDATE=1 and look at what changed");
    }
}
