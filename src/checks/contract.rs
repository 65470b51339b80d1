//! The contract step: does the slot say of its models what the active one says, as far as clients rely on it?

use std::{collections::BTreeSet, fmt::Write as _};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

use super::{
    ask::{Bounds, ask},
    gate::{Finding, Gate},
    golden::Request,
    terms::{Terms, Unread},
};
use crate::{config::settings::ServiceSettings, upstream::Endpoint};

/// Compares what the active slot says with what each endpoint says. Skipped where the active slot says nothing; an active
/// slot that cannot be asked any more must not keep traffic from leaving it.
pub(super) async fn contract(gate: &Gate) -> Finding {
    let mut evidence = Vec::new();
    let (mut compared, mut kept) = (false, true);
    for path in questions(gate) {
        let Some(agreed) = agreed(gate, &path, &mut evidence).await else { continue };
        compared = true;
        for endpoint in &gate.endpoints {
            let line = match terms(endpoint, &path, &gate.settings).await {
                Ok(offered) => match agreed.broken_by(&offered).as_slice() {
                    [] => format!("GET {path}: {agreed}, as before"),
                    broken => {
                        kept = false;
                        format!("GET {path}: {}", broken.join("; "))
                    }
                },
                Err(unread) => {
                    kept = false;
                    format!("GET {path}: {unread}, but the active slot says {agreed}")
                }
            };
            evidence.push(format!("{}: {line}", endpoint.settings));
        }
    }
    if compared { Finding::of(kept, evidence) } else { Finding::skipped(nothing(&evidence)) }
}

fn nothing(evidence: &[String]) -> String {
    let mut text = "the active slot says nothing about its models".to_owned();
    if !evidence.is_empty() {
        let _infallible = write!(text, " ({})", evidence.join("; "));
    }
    text
}

/// What the active slot says: the first of its endpoints that says something.
async fn agreed(gate: &Gate, path: &PathAndQuery, evidence: &mut Vec<String>) -> Option<Terms> {
    for endpoint in &gate.active {
        match terms(endpoint, path, &gate.settings).await {
            Ok(terms) => return Some(terms),
            Err(unread) => evidence.push(format!("{}: GET {path}: {unread}", endpoint.settings)),
        }
    }
    None
}

async fn terms(endpoint: &Endpoint, path: &PathAndQuery, settings: &ServiceSettings) -> Result<Terms, Unread> {
    let target = endpoint.http().ok_or(Unread::NoAddress)?;
    let request = Request::new(Method::GET, path.clone(), &HeaderMap::new(), Bytes::new());
    let bounds = Bounds { timeout: settings.health.timeout, answer_bytes_max: ANSWER_BYTES_MAX };
    let answer = ask(target, &request, settings, bounds).await.map_err(|none| Unread::Silent(none.reason))?;
    Terms::read(&answer)
}

/// The models that golden requests or the service's own path name; without any, the list that a server of the OpenAI
/// style has.
fn questions(gate: &Gate) -> Vec<PathAndQuery> {
    let golden = gate.golden.iter().flat_map(|set| set.cases()).filter(|case| !case.request().is_grpc());
    let mut models: BTreeSet<String> =
        golden.filter_map(|case| model_of(case.request().path.path())).take(MODELS_MAX).collect();
    let prefix = gate.settings.rule.path_prefix.as_deref().map(|prefix| stripped(prefix, &gate.settings));
    models.extend(prefix.and_then(model_of));
    let paths: Vec<String> = match models.is_empty() {
        true => vec![MODELS.to_owned()],
        false => models.iter().map(|model| format!("/v2/models/{model}")).collect(),
    };
    paths.iter().filter_map(|path| path.parse().ok()).collect()
}

/// The path as the endpoint gets it.
fn stripped<'p>(prefix: &'p str, settings: &ServiceSettings) -> &'p str {
    let strip = settings.request.strip_prefix.as_deref().unwrap_or_default();
    prefix.strip_prefix(strip).unwrap_or(prefix)
}

/// `iris` of `/v2/models/iris/infer`.
fn model_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/models/")?;
    let model = rest.split(['/', ':']).next().unwrap_or_default();
    (!model.is_empty()).then(|| model.to_owned())
}

const MODELS: &str = "/v1/models";
const MODELS_MAX: usize = 10_000;
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: a version, an action or a query is taken for a part of the name.
    #[test]
    fn a_model_is_named_by_its_path() {
        for (path, model) in [
            ("/v2/models/iris/infer", Some("iris")),
            ("/v2/models/iris", Some("iris")),
            ("/v2/models/iris/versions/2/infer", Some("iris")),
            ("/v2/models/iris:predict", Some("iris")),
            ("/v2/models/", None),
            ("/v2/health/ready", None),
            ("/v1/models/iris:predict", None),
        ] {
            assert_eq!(model_of(path).as_deref(), model, "{path}");
        }
    }
}
