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
    let path = std::mem::take(&mut head.uri).into_parts().path_and_query;
    head.uri = absolute(scheme, authority, path)?;
    head.version = Version::HTTP_2;
    if head.headers.contains_key(header::CONNECTION) {
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::UPGRADE);
    }
    Ok(())
}

/// Put together from its parts: writing and parsing the whole costs as much as the rest of a head.
fn absolute(scheme: &str, authority: &[u8], path: Option<PathAndQuery>) -> http::Result<Uri> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(Scheme::try_from(scheme)?);
    parts.authority = Some(Authority::try_from(authority)?);
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(Uri::from_parts(parts)?)
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
