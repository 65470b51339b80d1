//! A request's head in the form that its protocol has.

use http::{HeaderValue, Method, Uri, Version, header, request::Parts};

/// HTTP/2's form: the authority in the target, no `Host`.
///
/// # Errors
/// `Host` is no authority.
pub fn to_http2(head: &mut Parts, scheme: &str, default_authority: &str) -> http::Result<()> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(default_authority);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    head.uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build()?;
    head.version = Version::HTTP_2;
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::UPGRADE);
    Ok(())
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
