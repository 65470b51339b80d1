//! The head of a request as its service's `[service.request]` wants it: path, `Host`, fields.
//!
//! The prefix comes off before anything else looks at the path: what the server sees decides whether a request is
//! inference and may be sent again, because it is the server that would do the work twice. Routing looked at the
//! client's own path before.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts};

use super::{answer::Failure, headers};
use crate::{config::settings::RequestRules, telemetry::FailureKind};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Rewrites the head. The forwarding fields must have been set: they tell of the client's own `Host`.
pub(super) fn rewrite(head: &mut Parts, rules: &RequestRules) -> Result<(), Failure> {
    if let Some(prefix) = &rules.strip_prefix {
        strip(head, prefix)?;
    }
    if let Some(host) = &rules.host {
        head.headers.insert(header::HOST, host.clone());
    }
    headers::edit(&mut head.headers, &rules.headers);
    Ok(())
}

/// A head that says nothing, in the place of one that was taken.
pub(super) fn no_head() -> Parts {
    Request::new(()).into_parts().0
}

/// A copy without the extensions: they hold the case of the header names, which costs as much to copy as the names
/// themselves, and a second attempt can do without.
pub(super) fn copy(head: &Parts) -> Parts {
    let mut copy = no_head();
    copy.method.clone_from(&head.method);
    copy.uri.clone_from(&head.uri);
    copy.version = head.version;
    copy.headers.clone_from(&head.headers);
    copy
}

/// Takes the prefix off, if the path begins with it and a segment ends there.
fn strip(head: &mut Parts, prefix: &str) -> Result<(), Failure> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let Some(rest) = target.strip_prefix(prefix) else { return Ok(()) };
    let stripped = match rest.as_bytes().first() {
        Some(b'/') => rest.parse::<Uri>(),
        None | Some(b'?') => format!("/{rest}").parse(),
        Some(_) => return Ok(()),
    };
    head.uri = stripped
        .map_err(|_invalid| Failure::new(FailureKind::BadRequest, "the path cannot be sent without its prefix"))?;
    tell_prefix(&mut head.headers, prefix);
    Ok(())
}

/// The prefix as clients see it: what a proxy in front took off comes first.
fn tell_prefix(fields: &mut HeaderMap, prefix: &str) {
    let before = fields.get(X_FORWARDED_PREFIX).map_or(&b""[..], HeaderValue::as_bytes);
    let before = before.strip_suffix(b"/").unwrap_or(before);
    if let Ok(whole) = HeaderValue::from_bytes(&[before, prefix.as_bytes()].concat()) {
        fields.insert(X_FORWARDED_PREFIX, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(target: &str, prefix: &str) -> (String, Option<String>) {
        let (mut head, ()) = Request::builder().uri(target).body(()).unwrap().into_parts();
        strip(&mut head, prefix).unwrap();
        let told = head.headers.get(X_FORWARDED_PREFIX).map(|value| value.to_str().unwrap().to_owned());
        (head.uri.to_string(), told)
    }

    #[test]
    fn whole_segments_come_off() {
        for (target, prefix, left) in [
            ("/iris", "/iris", Some("/")),
            ("/iris/", "/iris", Some("/")),
            ("/iris?q=/iris/x", "/iris", Some("/?q=/iris/x")),
            ("/iris/a%2Fb/%7e//c?x=%20", "/iris", Some("/a%2Fb/%7e//c?x=%20")),
            ("/iris/iris/x", "/iris", Some("/iris/x")),
            ("/iris//x", "/iris", Some("//x")),
            ("/a/iris/x", "/a/iris", Some("/x")),
            ("/iris2/x", "/iris", None),
            ("/iris:predict", "/iris", None),
            ("/Iris/x", "/iris", None),
            ("/%69ris/x", "/iris", None),
            ("/x/iris", "/iris", None),
        ] {
            let told = left.map(|_| prefix.to_owned());
            assert_eq!(stripped(target, prefix), (left.unwrap_or(target).to_owned(), told), "{target} {prefix}");
        }
    }

    #[test]
    fn prefixes_add_up() {
        let mut fields = HeaderMap::new();
        for (prefix, whole) in [("/a", "/a"), ("/b/c", "/a/b/c")] {
            tell_prefix(&mut fields, prefix);
            assert_eq!(fields[X_FORWARDED_PREFIX], whole);
        }
    }
}
