//! What HTTP/2 asks of a request beyond its framing, which the HTTP library lets pass (RFC 9113 section 8).

use std::{future::poll_fn, pin::Pin, time::Duration};

use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    answer::Failure,
    headers::{self, Seen},
};
use crate::telemetry::FailureKind;

/// Refuses a malformed request, and leaves one Content-Length where there were equal ones.
pub(super) fn check(request: &mut Parts, seen: Seen) -> Result<(), Failure> {
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
    if seen.has(Seen::CONTENT_LENGTH) {
        one_length(&mut request.headers);
    }
    Ok(())
}

/// Refuses a head of too many fields, which the HTTP library does not count. Cookie crumbs are one field (section 8.2.3).
pub(super) fn check_count(fields: &HeaderMap, fields_max: usize) -> Result<(), Failure> {
    let crumbs = || fields.get_all(header::COOKIE).iter().skip(1).count();
    if fields.len() > fields_max && fields.len() - crumbs() > fields_max {
        return Err(Failure::new(FailureKind::HeadersTooLarge, "more header fields than limits.headers_max"));
    }
    Ok(())
}

/// True if the request says that it has no body, and has not ended.
pub(super) fn has_yet_to_end(fields: &HeaderMap, body: &Incoming) -> bool {
    !body.is_end_stream() && fields.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}

/// Waits for the end of a request that says it has no body: a body that comes all the same makes it malformed
/// (section 8.1.1), and the endpoint would have the whole of it already.
pub(super) async fn await_end(body: &mut Incoming, patience: Option<Duration>) -> Result<(), Failure> {
    let end = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let frame = frame.map_err(|_broken| Failure::new(FailureKind::ClientBody, "a body, and a length of 0"))?;
            if frame.is_trailers() || body.is_end_stream() {
                break;
            }
        }
        Ok(())
    };
    match patience {
        Some(patience) => tokio::time::timeout(patience, end)
            .await
            .unwrap_or_else(|_late| Err(Failure::new(FailureKind::BodyTimeout, "the request did not end"))),
        None => end.await,
    }
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
    if !headers::has(fields, &header::HOST) {
        return true;
    }
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
            let seen = Seen::of(&parts.headers);
            assert_eq!(check(&mut parts, seen).is_ok(), good, "{fields:?}");
            assert!(parts.headers.get_all("content-length").iter().count() < 2);
        }
    }
}
