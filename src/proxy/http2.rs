//! What HTTP/2 asks of a request beyond its framing, which the HTTP library lets pass (RFC 9113 section 8).

use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::answer::Failure;
use crate::telemetry::FailureKind;

/// Refuses a malformed request, and leaves one Content-Length where there were equal ones.
pub(super) fn check(request: &mut Parts) -> Result<(), Failure> {
    if request.headers.values().any(is_padded) {
        return Err(bad("a field value starts or ends with white space"));
    }
    // The library leaves the scheme out where there is no authority.
    if request.uri.authority().is_some() && request.uri.scheme_str().is_none_or(str::is_empty) {
        return Err(bad("an empty :scheme"));
    }
    if let Some(authority) = request.uri.authority()
        && !hosts_agree(&request.headers, authority.as_str())
    {
        return Err(bad("Host names another authority than :authority"));
    }
    one_length(&mut request.headers);
    Ok(())
}

fn bad(message: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, message)
}

/// White space around a value, which no field of HTTP/2 may have (section 8.2.1) and which HTTP/1.1 would lose.
fn is_padded(value: &HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.as_bytes().first()) || blank(value.as_bytes().last())
}

/// Two names for one request lead two readers to two places (section 8.3.1).
fn hosts_agree(fields: &HeaderMap, authority: &str) -> bool {
    let bare = |host: &[u8]| {
        let host = host.to_ascii_lowercase();
        let cut = [&b":80"[..], b":443"].into_iter().find_map(|port| host.strip_suffix(port)).map(<[u8]>::len);
        host[..cut.unwrap_or(host.len())].to_vec()
    };
    let same = |host: &HeaderValue| host == authority || bare(host.as_bytes()) == bare(authority.as_bytes());
    fields.get_all(header::HOST).iter().all(same)
}

/// Lengths that differ do not come here.
fn one_length(fields: &mut HeaderMap) {
    if fields.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(first) = fields.get(header::CONTENT_LENGTH).cloned()
    {
        fields.insert(header::CONTENT_LENGTH, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_requests_are_refused() {
        for (fields, good) in [
            (&[("x-a", "1 2")][..], true),
            (&[("x-a", "")], true),
            (&[("x-a", "1 ")], false),
            (&[("x-a", "\t1")], false),
            (&[("host", "iris.test")], true),
            (&[("host", "IRIS.test:80")], true),
            (&[("host", "iris.test:81")], false),
            (&[("host", "iris.test"), ("host", "evil.test")], false),
            (&[("content-length", "3"), ("content-length", "3")], true),
        ] {
            let mut builder = http::Request::builder().uri("http://iris.test/a");
            for (name, value) in fields {
                builder = builder.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let mut parts = builder.body(()).unwrap().into_parts().0;
            assert_eq!(check(&mut parts).is_ok(), good, "{fields:?}");
            assert!(parts.headers.get_all("content-length").iter().count() < 2);
        }
    }
}
