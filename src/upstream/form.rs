//! A request's head in the form that its protocol has.

use http::{
    HeaderValue, Method, Uri, Version, header,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};

/// HTTP/2's form: the authority in the target, no `Host`.
///
/// # Errors
/// `Host` is no authority.
pub fn to_http2(head: &mut Parts, scheme: &str, default_authority: &str) -> http::Result<()> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().map_or(default_authority.as_bytes(), HeaderValue::as_bytes);
    head.uri = whole(std::mem::take(&mut head.uri).into_parts(), scheme, authority)?;
    head.version = Version::HTTP_2;
    if head.headers.contains_key(header::CONNECTION) {
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::UPGRADE);
    }
    Ok(())
}

/// Put together from its parts, and what it has of them already is not parsed again: to write and parse the whole costs as
/// much as the rest of a head.
fn whole(mut target: uri::Parts, scheme: &str, authority: &[u8]) -> http::Result<Uri> {
    if target.authority.as_ref().is_none_or(|known| known.as_str().as_bytes() != authority) {
        target.authority = Some(Authority::try_from(authority)?);
    }
    target.scheme = Some(Scheme::try_from(scheme)?);
    target.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Ok(Uri::from_parts(target)?)
}

/// Says of an HTTP/1.1 request without a body that it has none, where a server may take the lack of a length for a fault
/// (RFC 9110 section 8.6).
pub fn declare_no_body(head: &mut Parts) {
    if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
    {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}
