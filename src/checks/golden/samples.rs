//! Answers and cases for tests.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{Answer, Arrival, Case, Failure, Outcome, Set};

pub(super) const TOOK: Duration = Duration::from_millis(5);

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    pairs.iter().map(pair).collect()
}

pub(super) fn json_answer(body: &Value) -> Answer {
    Answer::whole(200, headers(&[("content-type", "application/json")]), body.to_string(), TOOK)
}

/// A V2 answer with one output.
pub(super) fn v2(datatype: &str, shape: &[usize], data: &Value) -> Answer {
    json_answer(&json!({ "outputs": [{ "name": "out", "datatype": datatype, "shape": shape, "data": data }] }))
}

pub(super) fn event_stream(pieces: &[(&str, u64)]) -> Answer {
    let mut body = String::new();
    let mut arrivals = Vec::new();
    for (piece, millis) in pieces {
        body.push_str(piece);
        arrivals.push(Arrival { until: body.len(), at: Duration::from_millis(*millis) });
    }
    let head = headers(&[("content-type", "text/event-stream; charset=utf-8")]);
    Answer { arrivals, ..Answer::whole(200, head, body, TOOK) }
}

/// A case for an HTTP request with this expectation.
pub(super) fn case(expect: &Value) -> Case {
    let line = json!({ "name": "a", "request": { "path": "/" }, "expect": expect }).to_string();
    Set::parse(&line, "golden.jsonl").unwrap_or_else(|problems| panic!("{problems}")).cases()[0].clone()
}

/// What fails, each on one line.
pub(super) fn failures(expect: &Value, answer: &Answer) -> Vec<String> {
    match case(expect).judge(answer).outcome {
        Outcome::Failed(failures) => failures.iter().map(Failure::to_string).collect(),
        _ => Vec::new(),
    }
}

/// It passes.
pub(super) fn holds(expect: &Value, answer: &Answer) {
    assert_eq!(failures(expect, answer), Vec::<String>::new(), "{expect}");
}

/// It fails, and each of these texts is in its evidence.
pub(super) fn fails(expect: &Value, answer: &Answer, with: &[&str]) {
    let found = failures(expect, answer).join("\n");
    assert!(!found.is_empty(), "passes: {expect}");
    assert!(with.iter().all(|text| found.contains(text)), "{expect}: {with:?} is not in: {found}");
}

/// The problems of a file, each on one line.
pub(super) fn problems(text: &str) -> Vec<String> {
    Set::parse(text, "g").err().map_or_else(Vec::new, |problems| problems.lines())
}
