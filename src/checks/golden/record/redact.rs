//! What must not get into a file: members by name at any depth, tensors, headers and query parameters of that name.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, uri::PathAndQuery};
use serde_json::{Map, Value, json};

/// Names to be redacted, whatever their case. Credentials in well-known headers are left out in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    names: BTreeSet<String>,
}

impl Redaction {
    pub fn of(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self { names: names.into_iter().map(|name| name.as_ref().to_ascii_lowercase()).collect() }
    }

    /// Nothing is named, so that what cannot be looked into may be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(&name.to_ascii_lowercase())
    }

    /// Replaces what is named by a value of the same type. Says whether there was anything.
    pub(super) fn redact(&self, value: &mut Value) -> bool {
        match value {
            // Counted, not asked for any: each of them is to be looked through.
            Value::Array(items) => items.iter_mut().filter_map(|item| self.redact(item).then_some(())).count() > 0,
            Value::Object(members) => self.redact_members(members),
            Value::String(text) => self.redact_inside(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// JSON in a string, such as the arguments of a tool call.
    fn redact_inside(&self, text: &mut String) -> bool {
        if self.is_empty() || !text.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(mut inner) = serde_json::from_str::<Value>(text) else { return false };
        let hit = self.redact(&mut inner);
        if hit {
            *text = inner.to_string();
        }
        hit
    }

    fn redact_members(&self, members: &mut Map<String, Value>) -> bool {
        // A tensor has its name in a member, and its values in another.
        let is_named = members.get("name").and_then(Value::as_str).is_some_and(|name| self.names(name));
        let mut hit = is_named;
        for (key, member) in members.iter_mut() {
            if self.names(key) || (is_named && key == "data") {
                blank(member);
                hit = true;
            } else {
                hit |= self.redact(member);
            }
        }
        hit
    }

    /// The headers that may be written: none that is named, none with a credential, none that belongs to one request.
    pub(super) fn headers<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h HeaderName> {
        let kept = |name: &&HeaderName| {
            let name = name.as_str();
            let is_passing = PASSING.contains(&name) || PASSING_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            !self.names(name) && !is_credential(name) && !is_passing
        };
        headers.keys().filter(kept)
    }

    /// The path with the values of named parameters taken out, and of those that are credentials by their usual names.
    pub(super) fn path(&self, path: &PathAndQuery) -> String {
        let Some(query) = path.query() else { return path.path().to_owned() };
        let redacted = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default();
            if self.names(name) || SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
                format!("{name}={PLACEHOLDER}")
            } else {
                pair.to_owned()
            }
        };
        let pairs: Vec<_> = query.split('&').map(redacted).collect();
        format!("{}?{}", path.path(), pairs.join("&"))
    }
}

/// A header that says who asks, by its name.
fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name) || name.split('-').any(|part| SECRET_PARTS.contains(&part))
}

/// The keys of an object may tell as much as its values, so it becomes empty; a list keeps its length.
fn blank(value: &mut Value) {
    match value {
        Value::String(_) => *value = json!(PLACEHOLDER),
        Value::Number(_) => *value = json!(0),
        Value::Bool(_) => *value = json!(false),
        Value::Object(_) => *value = json!({}),
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Null => {}
    }
}

const PLACEHOLDER: &str = "REDACTED";
/// Headers that say who asks, in lower case. Whoever sends the request again has others, or none.
pub const CREDENTIALS: &[&str] = &[
    "api-key",
    "authorization",
    "cookie",
    "cookie2",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-functions-key",
    "x-goog-api-key",
];
/// Between two hyphens of a header's name.
const SECRET_PARTS: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "key",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "password",
    "secret",
    "session",
    "signature",
    "token",
];
const SECRET_PARAMETERS: &[&str] = &[
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
];
/// Of that one request; and with some of them the answer would come compressed, or would be only a part.
const PASSING: &[&str] = &[
    "accept-encoding",
    "baggage",
    "date",
    "forwarded",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-real-ip",
    "x-request-id",
];
const PASSING_PREFIXES: &[&str] = &["x-forwarded-", "x-verdigris-", "x-envoy-", "x-b3-", "cf-", "sec-"];
