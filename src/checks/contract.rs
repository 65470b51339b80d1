//! The contract step: does the slot say of its models what the active one says, as far as clients rely on it?

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use tokio::time::Instant as Deadline;

use super::{
    ask::{Bounds, address, ask},
    gate::{Finding, Gate},
    golden::{Case, ModelMetadata, Request, cut, one_line},
    terms::{Terms, Unread},
};
use crate::{
    api::EndpointHealth,
    config::settings::ServiceSettings,
    upstream::{Endpoint, without_prefix},
};

/// Compares what the active slot says with what each endpoint says. Skipped where the active slot says nothing; an active
/// slot that cannot be asked any more must not keep traffic from leaving it.
///
/// No question is asked after `until`, and one that is under way then has no answer. Dropping the future gives up what runs.
pub(super) async fn contract(gate: &Gate, until: Deadline) -> Finding {
    let mut evidence = Evidence::default();
    let mut compared = false;
    // Who does not answer is not asked again: that has failed, and would use up the time of the others.
    let mut silent = BTreeSet::new();
    for question in questions(gate) {
        let agreed = match agreed(gate, &question, until, &mut evidence).await {
            Ok(agreed) => agreed,
            Err(Silence::Nothing) => continue,
            // Nobody is there to ask about the other models, and waiting for it would use the gate's time up.
            Err(Silence::Nobody) => break,
        };
        compared = true;
        for endpoint in &gate.endpoints {
            if silent.contains(&endpoint.id) {
                continue;
            }
            let (is_kept, line) = match terms(endpoint, &question, &gate.settings, until).await {
                Ok(offered) => match agreed.broken_by(&offered).as_slice() {
                    [] => (true, format!("{question}: {agreed}, as before")),
                    broken => (false, format!("{question}: {}", shortened(broken))),
                },
                Err(unread) => {
                    if matches!(unread, Unread::Silent(_)) {
                        silent.insert(endpoint.id);
                    }
                    (false, format!("{question}: {unread}, but the active slot says {agreed}"))
                }
            };
            evidence.add(is_kept, format!("{}: {line}", endpoint.settings));
        }
        if silent.len() == gate.endpoints.len() {
            break;
        }
    }
    if compared { Finding::of(evidence.is_kept(), evidence.lines()) } else { Finding::skipped(nothing(evidence)) }
}

/// What was found, line by line.
#[derive(Default)]
struct Evidence {
    /// Of terms that are not kept.
    broken: Vec<String>,
    others: Vec<String>,
    /// How many more there were of either kind.
    untold: usize,
}

impl Evidence {
    fn add(&mut self, is_kept: bool, line: String) {
        let lines = if is_kept { &mut self.others } else { &mut self.broken };
        if lines.len() < LINES_SHOWN { lines.push(line) } else { self.untold += 1 }
    }

    fn is_kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// So many of them, what is broken first; a server with many models must not fill the journal.
    fn lines(self) -> Vec<String> {
        let mut lines = self.broken;
        lines.extend(self.others);
        let untold = self.untold + lines.len().saturating_sub(LINES_SHOWN);
        lines.truncate(LINES_SHOWN);
        if untold > 0 {
            lines.push(format!("and {untold} more"));
        }
        lines
    }
}

/// The first differences; a server must not fill the journal with them.
fn shortened(broken: &[String]) -> String {
    let mut text = broken.iter().take(DIFFERENCES_SHOWN).map(|one| cut(&one_line(one))).collect::<Vec<_>>().join("; ");
    if broken.len() > DIFFERENCES_SHOWN {
        let _infallible = write!(text, "; and {} more", broken.len() - DIFFERENCES_SHOWN);
    }
    text
}

fn nothing(evidence: Evidence) -> String {
    let mut text = "the active slot says nothing about its models".to_owned();
    let lines = evidence.lines();
    if !lines.is_empty() {
        let _infallible = write!(text, " ({})", lines.join("; "));
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
async fn agreed(gate: &Gate, question: &Question, until: Deadline, evidence: &mut Evidence) -> Result<Terms, Silence> {
    let mut active: Vec<_> = gate.active.iter().collect();
    active.sort_by_key(|endpoint| endpoint.health() != EndpointHealth::Healthy);
    let mut silence = Silence::Nobody;
    for endpoint in active.into_iter().take(ACTIVE_ASKED_MAX) {
        let unread = match terms(endpoint, question, &gate.settings, until).await {
            Ok(terms) => return Ok(terms),
            Err(unread) => unread,
        };
        if !matches!(unread, Unread::Silent(_)) {
            silence = Silence::Nothing;
        }
        evidence.add(true, format!("{}: {question}: {unread}", endpoint.settings));
    }
    Err(silence)
}

async fn terms(
    endpoint: &Endpoint,
    question: &Question,
    settings: &ServiceSettings,
    until: Deadline,
) -> Result<Terms, Unread> {
    let request = match question {
        Question::Path(path) => Request::new(Method::GET, public(path, settings)?, &HeaderMap::new(), Bytes::new()),
        Question::GrpcModel(model) => ModelMetadata::ask(model),
    };
    let target = address(endpoint, &request).map_err(|_none| Unread::NoAddress)?;
    let left = until.saturating_duration_since(Deadline::now());
    if left < Duration::from_millis(1) {
        return Err(Unread::Silent("not asked: the time of service.gate.timeout was over".to_owned()));
    }
    let timeout = settings.health.timeout.min(TIMEOUT_MAX).min(left);
    let bounds = Bounds { timeout, answer_bytes_max: ANSWER_BYTES_MAX };
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
        http.filter_map(|request| model_of(stripped(request.path.path(), &gate.settings))).take(MODELS_MAX).collect();
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
fn stripped<'p>(path: &'p str, settings: &ServiceSettings) -> &'p str {
    let strip = settings.request.strip_prefix.as_deref();
    strip.and_then(|prefix| without_prefix(path, prefix)).unwrap_or(path)
}

/// The path as a client has to write it.
fn public(path: &PathAndQuery, settings: &ServiceSettings) -> Result<PathAndQuery, Unread> {
    let Some(prefix) = &settings.request.strip_prefix else { return Ok(path.clone()) };
    format!("{prefix}{path}").try_into().map_err(|_invalid| Unread::NoAddress)
}

/// `iris` of `/v2/models/iris/infer`.
fn model_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/models/")?;
    let model = rest.split(['/', ':']).next().unwrap_or_default();
    (!model.is_empty()).then(|| model.to_owned())
}

const MODELS: &str = "/v1/models";
const DIFFERENCES_SHOWN: usize = 5;
/// Lines of evidence.
const LINES_SHOWN: usize = 20;
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

    /// Fails when: a server with many models fills the report, or what is broken is not told first.
    #[test]
    fn evidence_is_bounded_and_begins_with_what_is_broken() {
        let mut evidence = Evidence::default();
        (0..30).for_each(|index| evidence.add(true, format!("kept {index}")));
        evidence.add(false, "broken".to_owned());
        assert!(!evidence.is_kept());
        let lines = evidence.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[1].as_str()), (21, "broken", "kept 0"));
        assert_eq!(lines[20], "and 11 more");
        let mut evidence = Evidence::default();
        (0..20).for_each(|index| evidence.add(true, index.to_string()));
        assert!(evidence.is_kept());
        assert_eq!(evidence.lines().len(), 20);
    }
}
