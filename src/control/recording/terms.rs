//! What a recording is to be, out of the words of the admin API.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::{
    api::{Problem, ProblemKind, RecordRequest},
    checks::golden::{CREDENTIALS, Given, Redaction},
    control::handle::duration,
    shadow::Wanted,
};

/// A recording that was asked for, all of it checked.
#[derive(Debug)]
pub(super) struct Terms {
    /// Requests that are to be in the file.
    pub(super) wanted: usize,
    pub(super) timeout: Duration,
    pub(super) redaction: Redaction,
    /// Fields that are not even copied: credentials, and those that are named.
    pub(super) without: Vec<HeaderName>,
    pub(super) source: Source,
}

/// Where the requests come from, and whether each is sent once more.
#[derive(Debug)]
pub(super) enum Source {
    Live { wanted: Wanted, repeat: bool },
    Given { requests: Vec<Given>, repeat: bool },
}

impl Terms {
    pub(super) fn new(request: &RecordRequest) -> Result<Self, Problem> {
        let timeout = request.timeout.as_deref().map(|text| duration(text, "timeout")).transpose()?;
        let timeout = timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(invalid("timeout: at least 1ms and at most 6h"));
        }
        if request.requests.is_some_and(|count| !(1..=REQUESTS_MAX).contains(&count)) {
            return Err(invalid(format!("requests: 1 to {REQUESTS_MAX}")));
        }
        if request.redact.len() > NAMES_MAX || request.redact.iter().any(|name| name.trim().is_empty()) {
            return Err(invalid(format!("redact: up to {NAMES_MAX} names, none of them empty")));
        }
        let named = CREDENTIALS.iter().copied().chain(request.redact.iter().map(String::as_str));
        let without = named.filter_map(|name| name.parse().ok()).collect();
        let redaction = Redaction::of(&request.redact);
        let (asked, repeat) = (request.requests, request.repeat);
        let source = match request.given.as_deref() {
            Some(text) => Source::Given { requests: given(request, text, asked)?, repeat: repeat.unwrap_or(true) },
            None => Source::Live { wanted: filters(request)?, repeat: repeat.unwrap_or(false) },
        };
        let wanted = match &source {
            Source::Live { .. } => asked.unwrap_or(REQUESTS_DEFAULT),
            Source::Given { requests, .. } => requests.len(),
        };
        Ok(Self { wanted, timeout, redaction, without, source })
    }
}

fn given(request: &RecordRequest, text: &str, asked: Option<usize>) -> Result<Vec<Given>, Problem> {
    let has_filters = request.path_prefix.is_some() || request.method.is_some() || !request.headers.is_empty();
    if has_filters || request.sample.is_some() {
        return Err(invalid(
            "path_prefix, method, headers and sample choose from live traffic, and requests are given",
        ));
    }
    let mut all = Given::parse(text, "given").map_err(|problems| {
        let mut problem = invalid(format!("the given requests are wrong: {}", problems.lines().join("; ")));
        problem.problems = problems.lines();
        problem
    })?;
    all.truncate(asked.unwrap_or(usize::MAX));
    Ok(all)
}

fn filters(request: &RecordRequest) -> Result<Wanted, Problem> {
    let method = request.method.as_deref().map(|text| Method::from_bytes(text.as_bytes())).transpose();
    let method = method.map_err(|_bad| invalid("method: not the name of a method"))?;
    if request.path_prefix.as_ref().is_some_and(|prefix| !prefix.starts_with('/')) {
        return Err(invalid("path_prefix: it begins with /"));
    }
    let mut headers = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let both = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        match both {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => return Err(invalid(format!("headers: {name:?} is not the name of a field, or its value is none"))),
        }
    }
    if request.sample == Some(0) {
        return Err(invalid("sample: at least 1"));
    }
    let path_prefix = request.path_prefix.clone();
    Ok(Wanted { path_prefix, method, headers, every: request.sample.unwrap_or(1) })
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Invalid, message)
}

const REQUESTS_DEFAULT: usize = 50;
/// As many lines as a golden file may have.
const REQUESTS_MAX: usize = 9_999;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
const TIMEOUT_MAX: Duration = Duration::from_secs(6 * 3600);
const NAMES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Terms::new(&serde_json::from_str(json).unwrap()).unwrap_err().message
    }

    /// Fails when: a wrong value is taken, or its key is not told.
    #[test]
    fn wrong_terms_are_refused_with_their_key() {
        for (json, key) in [
            (r#"{"requests": 0}"#, "requests"),
            (r#"{"timeout": "0s"}"#, "timeout"),
            (r#"{"timeout": "7h"}"#, "timeout"),
            (r#"{"timeout": "soon"}"#, "timeout"),
            (r#"{"method": "A B"}"#, "method"),
            (r#"{"path_prefix": "x"}"#, "path_prefix"),
            (r#"{"headers": {"a b": "c"}}"#, "headers"),
            (r#"{"sample": 0}"#, "sample"),
            (r#"{"redact": [" "]}"#, "redact"),
            (r#"{"given": "{\"path\": \"/\"}", "method": "GET"}"#, "live traffic"),
            (r#"{"given": "{\"path\": \"x\"}"}"#, "given:1:10"),
        ] {
            assert!(refused(json).contains(key), "{json}: {}", refused(json));
        }
    }

    /// Fails when: live requests are sent again unasked, given ones are not, or a credential is copied.
    #[test]
    fn what_is_left_out_has_its_default() {
        let terms = Terms::new(&RecordRequest::default()).unwrap();
        assert!(matches!(terms.source, Source::Live { repeat: false, .. }));
        assert_eq!((terms.wanted, terms.timeout), (50, Duration::from_secs(300)));
        assert!(terms.without.contains(&http::header::AUTHORIZATION));
        let json = r#"{"given": "{\"path\": \"/a\"}\n{\"path\": \"/b\"}\n", "redact": ["X-User", "a b"]}"#;
        let terms = Terms::new(&serde_json::from_str(json).unwrap()).unwrap();
        assert!(matches!(&terms.source, Source::Given { repeat: true, requests } if requests.len() == 2));
        assert!(terms.wanted == 2 && terms.without.contains(&HeaderName::from_static("x-user")));
    }
}
