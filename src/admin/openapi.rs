//! The API's description, made from the handlers and types that serve it.

use axum::{http::header, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{changes, drains, events, probes, recordings, services, slot_gate};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Verdigris admin API",
        description = "Switch traffic between two model servers, roll back, drain. Every refusal is a `Problem`; nothing changed then.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "status", description = "What is and what was"),
        (name = "change", description = "What moves or replaces"),
        (name = "slot", description = "One slot's gate, drain and recording"),
        (name = "probe", description = "For machines that watch this one"),
    ),
    paths(
        services::list, services::one, services::history, events::events,
        changes::switch, changes::rollback, changes::replace_slot, changes::cancel, changes::reload,
        slot_gate::test_slot, slot_gate::cancel_test, drains::status, drains::begin,
        recordings::record, recordings::progress,
        probes::live, probes::ready, probes::metrics,
    ),
    modifiers(&Token),
)]
struct Description;

/// A token is needed only where one is configured, hence the empty alternative.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let none = utoipa::openapi::SecurityRequirement::default();
        document.security = Some(vec![none, utoipa::openapi::SecurityRequirement::new("token", [""; 0])]);
    }
}

/// The OpenAPI document as JSON text, with a line break at its end.
pub fn document() -> String {
    Description::openapi().to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}

pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: the served types or paths changed but `docs/openapi.json` was not refreshed (`UPDATE=1 cargo test`).
    #[test]
    fn the_checked_in_document_is_the_served_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, document()).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == document(),
            "docs/openapi.json is out of date: run UPDATE=1 cargo test and look at the difference"
        );
    }

    /// Fails when: a reference leads nowhere, which client generators choke on.
    #[test]
    fn every_reference_leads_somewhere() {
        let text = document();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut references = text.split("\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).peekable();
        assert!(references.peek().is_some());
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
