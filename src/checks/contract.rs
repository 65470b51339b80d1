//! The contract step: does the slot say of its models what the active one says, as far as clients rely on it?

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

use super::{
    ask::{Bounds, address, ask},
    gate::{Finding, Gate},
    golden::{Case, ModelMetadata, Request, cut, one_line},
    terms::{Terms, Unread},
};
use crate::{api::EndpointHealth, config::settings::ServiceSettings, upstream::Endpoint};

/// Compares what the active slot says with what each endpoint says. Skipped where the active slot says nothing; an active
/// slot that cannot be asked any more must not keep traffic from leaving it.
pub(super) async fn contract(gate: &Gate) -> Finding {
    let mut evidence = Vec::new();
    let (mut compared, mut kept) = (false, true);
    for question in questions(gate) {
        let agreed = match agreed(gate, &question, &mut evidence).await {
            Ok(agreed) => agreed,
            Err(Silence::Nothing) => continue,
            // Nobody is there to ask about the other models, and waiting for it would use the gate's time up.
            Err(Silence::Nobody) => break,
        };
        compared = true;
        for endpoint in &gate.endpoints {
            let line = match terms(endpoint, &question, &gate.settings).await {
                Ok(offered) => match agreed.broken_by(&offered).as_slice() {
                    [] => format!("{question}: {agreed}, as before"),
                    broken => {
                        kept = false;
                        format!("{question}: {}", shortened(broken))
                    }
                },
                Err(unread) => {
                    kept = false;
                    format!("{question}: {unread}, but the active slot says {agreed}")
                }
            };
            evidence.push(format!("{}: {line}", endpoint.settings));
        }
    }
    if compared { Finding::of(kept, evidence) } else { Finding::skipped(nothing(&evidence)) }
}

/// The first differences; a server must not fill the journal with them.
fn shortened(broken: &[String]) -> String {
    let mut text = broken.iter().take(DIFFERENCES_SHOWN).map(|one| cut(&one_line(one))).collect::<Vec<_>>().join("; ");
    if broken.len() > DIFFERENCES_SHOWN {
        let _infallible = write!(text, "; and {} more", broken.len() - DIFFERENCES_SHOWN);
    }
    text
}

fn nothing(evidence: &[String]) -> String {
    let mut text = "the active slot says nothing about its models".to_owned();
    if !evidence.is_empty() {
        let _infallible = write!(text, " ({})", evidence.join("; "));
    }
    text
}

/// Why there is nothing to compare with.
enum Silence {
    /// The slot answers, and says nothing of this.
    Nothing,
    /// Nobody answers.
    Nobody,
}

/// What the active slot says: the first of its endpoints that says something, healthy ones first.
async fn agreed(gate: &Gate, question: &Question, evidence: &mut Vec<String>) -> Result<Terms, Silence> {
    let mut active: Vec<_> = gate.active.iter().collect();
    active.sort_by_key(|endpoint| endpoint.health() != EndpointHealth::Healthy);
    let mut silence = Silence::Nobody;
    for endpoint in active.into_iter().take(ACTIVE_ASKED_MAX) {
        let unread = match terms(endpoint, question, &gate.settings).await {
            Ok(terms) => return Ok(terms),
            Err(unread) => unread,
        };
        if !matches!(unread, Unread::Silent(_)) {
            silence = Silence::Nothing;
        }
        evidence.push(format!("{}: {question}: {unread}", endpoint.settings));
    }
    Err(silence)
}

async fn terms(endpoint: &Endpoint, question: &Question, settings: &ServiceSettings) -> Result<Terms, Unread> {
    let request = match question {
        Question::Path(path) => Request::new(Method::GET, path.clone(), &HeaderMap::new(), Bytes::new()),
        Question::GrpcModel(model) => ModelMetadata::ask(model),
    };
    let target = address(endpoint, &request).map_err(|_none| Unread::NoAddress)?;
    let bounds = Bounds { timeout: settings.health.timeout.min(TIMEOUT_MAX), answer_bytes_max: ANSWER_BYTES_MAX };
    let answer = ask(target, &request, settings, bounds).await.map_err(|none| Unread::Silent(none.reason))?;
    match question {
        Question::Path(_) => Terms::read(&answer),
        Question::GrpcModel(_) => Terms::read_grpc(&answer),
    }
}

/// What a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Path(PathAndQuery),
    /// `ModelMetadata` of this model.
    GrpcModel(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "GET {path}"),
            Self::GrpcModel(model) => write!(f, "ModelMetadata of {model}"),
        }
    }
}

/// The models that golden requests or the service's own path name; without any, the list that a server of the OpenAI
/// style has.
fn questions(gate: &Gate) -> Vec<Question> {
    let requests = || gate.golden.iter().flat_map(|set| set.cases()).map(Case::request);
    let http = requests().filter(|request| !request.is_grpc());
    let mut models: BTreeSet<String> =
        http.filter_map(|request| model_of(request.path.path())).take(MODELS_MAX).collect();
    let prefix = gate.settings.rule.path_prefix.as_deref().map(|prefix| stripped(prefix, &gate.settings));
    models.extend(prefix.and_then(model_of));
    let grpc_models: BTreeSet<String> = requests().filter_map(Request::grpc_model).take(MODELS_MAX).collect();
    let paths: Vec<String> = match models.is_empty() && grpc_models.is_empty() {
        true => vec![MODELS.to_owned()],
        false => models.iter().map(|model| format!("/v2/models/{model}")).collect(),
    };
    let paths = paths.iter().filter_map(|path| path.parse().ok()).map(Question::Path);
    paths.chain(grpc_models.into_iter().map(Question::GrpcModel)).collect()
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
const DIFFERENCES_SHOWN: usize = 5;
/// A slot that hangs must not use up the time of the gate that lets traffic leave it.
const ACTIVE_ASKED_MAX: usize = 3;
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
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
