//! The dashboard: three small files that are part of the program and load nothing from elsewhere.

use std::sync::Arc;

use axum::{Router, http::header, response::IntoResponse, routing::get};

use super::shared::Shared;

/// Where the page's parts are.
pub(super) const PATHS: [&str; 3] = ["/", "/app.js", "/style.css"];

/// No inline script or style, nothing from elsewhere, no frame around it.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Arc<Shared>> {
    let [index, script, style] = PATHS;
    Router::new()
        .route(index, get(async || part("text/html; charset=utf-8", INDEX)))
        .route(script, get(async || part("text/javascript; charset=utf-8", SCRIPT)))
        .route(style, get(async || part("text/css; charset=utf-8", STYLE)))
}

/// Asked for anew each time, so that page and API are always of one version.
fn part(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/style.css");

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: the page needs what its own policy forbids, or something that is not served here.
    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for text in [INDEX, SCRIPT, STYLE] {
            for forbidden in ["http://", "https://", "innerHTML", "eval(", "@import", "url("] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
        for inline in ["style=", "onclick", "onload", "<script>", "<style>"] {
            assert!(!INDEX.contains(inline), "{inline}");
        }
        let references = INDEX.split("=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        for reference in references.filter(|text| text.starts_with('/')) {
            assert!(PATHS.contains(&reference), "{reference}");
        }
    }

    /// Fails when: the script looks for an element that the page does not have.
    #[test]
    fn the_script_finds_what_it_looks_for() {
        let wanted: Vec<_> = SCRIPT.split("byId(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(wanted.len() > 3);
        for id in wanted {
            assert!(INDEX.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    /// Fails when: the script asks for a call that the API does not have.
    #[test]
    fn the_script_asks_for_calls_that_are_there() {
        let document: serde_json::Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
        let known: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
        let quoted = ['`', '"'].into_iter().flat_map(|quote| SCRIPT.split(quote).skip(1).step_by(2));
        let asked: Vec<_> = quoted.filter(|text| text.starts_with("/v1/")).collect();
        assert!(asked.len() >= 6, "{asked:?}");
        for path in asked {
            let path = path.split('?').next().unwrap();
            assert!(known.iter().any(|call| is_shaped_like(path, call)), "{path}");
        }
    }

    /// Part by part the same, where a variable on either side is the same as anything.
    fn is_shaped_like(path: &str, call: &str) -> bool {
        let is_variable = |part: &str| part.ends_with('}');
        let mut parts = path.split('/').zip(call.split('/'));
        path.matches('/').count() == call.matches('/').count()
            && parts.all(|(asked, known)| asked == known || is_variable(asked) || is_variable(known))
    }
}
