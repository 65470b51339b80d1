//! `[service.request]`: what becomes of a request's head on its way to an endpoint. A gate's requests take the same way as
//! live ones, or a slot would pass with what no client gets.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts, uri::InvalidUri};

use super::edits::edit;
use crate::config::settings::RequestRules;

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Takes the prefix off the path, sets `Host`, edits the fields.
///
/// # Errors
/// What is left of the path is none.
pub fn apply(rules: &RequestRules, head: &mut Parts) -> Result<(), InvalidUri> {
    if let Some(prefix) = &rules.strip_prefix {
        strip(head, prefix)?;
    }
    if let Some(host) = &rules.host {
        head.headers.insert(header::HOST, host.clone());
    }
    edit(&mut head.headers, &rules.headers);
    Ok(())
}

/// What stands behind the prefix, if the path begins with it and a segment ends there: empty, or beginning with `/` or `?`.
pub fn without_prefix<'t>(target: &'t str, prefix: &str) -> Option<&'t str> {
    let rest = target.strip_prefix(prefix)?;
    matches!(rest.as_bytes().first(), None | Some(b'/' | b'?')).then_some(rest)
}

fn strip(head: &mut Parts, prefix: &str) -> Result<(), InvalidUri> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let Some(rest) = without_prefix(target, prefix) else { return Ok(()) };
    let stripped = if rest.starts_with('/') { rest.parse::<Uri>() } else { format!("/{rest}").parse() };
    head.uri = stripped?;
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
    use http::Request;

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
