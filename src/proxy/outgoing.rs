//! The request as an upstream connection is to have it.

use http::{
    HeaderValue, Request, Uri, Version, header,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use super::{
    answer::{Failure, internal},
    exchange::Held,
    forward::Courier,
    headers, interim, retry,
};
use crate::{
    telemetry::FailureKind,
    upstream::{Conn, Pool, RequestBody},
};

impl Courier<'_> {
    /// The request as this connection is to have it. A copy of the head stays here if it may be needed again.
    pub(super) fn request(&mut self, held: &Held, pool: &Pool, conn: &Conn) -> Result<Request<RequestBody>, Failure> {
        let keep = self.may_replay || conn.speaks_http2();
        let mut head = self.take_head(keep).ok_or_else(|| internal("the request is out"))?;
        let expectation = self.exchange.expectation.get();
        if conn.speaks_http2() {
            let (scheme, default) =
                pool.target().map_or(("http", "localhost"), |target| (target.scheme(), target.authority.as_str()));
            to_http2(&mut head, scheme, default)?;
            // hyper does not tell what an HTTP/2 server says before its answer.
            if let Some(expectation) = expectation {
                head.headers.remove(header::EXPECT);
                expectation.fulfil();
            }
        } else {
            head.version = Version::HTTP_11;
            let has_length = headers::has(&head.headers, &header::CONTENT_LENGTH);
            if self.body.is_some() && !has_length {
                // The HTTP library would send a GET without its body otherwise.
                head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if self.body.is_none() && expects_body(&head) && !has_length {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            if !headers::has(&head.headers, &header::HOST)
                && let Some(target) = pool.target()
            {
                let host =
                    HeaderValue::from_str(&target.authority).map_err(|_invalid| internal("the endpoint's name"))?;
                head.headers.insert(header::HOST, host);
            }
        }
        let first_byte = retry::patience(self, held);
        let body = match &self.body {
            Some(body) => body.attempt(held.lease.clone(), first_byte),
            None => {
                held.lease.expect_within(first_byte);
                RequestBody::Empty
            }
        };
        let mut request = Request::from_parts(head, body);
        if self.exchange.client.conn.takes_interim() && !conn.speaks_http2() {
            interim::pass_on(&mut request, &self.exchange.client.conn, expectation.cloned());
        }
        Ok(request)
    }
}

/// A server may take the lack of a length for a fault in these (RFC 9110 section 8.6), and HTTP/2 needs none.
fn expects_body(head: &Parts) -> bool {
    use http::Method;
    [Method::POST, Method::PUT, Method::PATCH].contains(&head.method)
}

fn absolute(scheme: &str, authority: &[u8], path: Option<PathAndQuery>) -> Result<Uri, http::Error> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(Scheme::try_from(scheme)?);
    parts.authority = Some(Authority::try_from(authority)?);
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(Uri::from_parts(parts)?)
}

/// HTTP/2's form: the authority in the target, no `Host`.
fn to_http2(head: &mut Parts, scheme: &str, default_authority: &str) -> Result<(), Failure> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().map_or(default_authority.as_bytes(), HeaderValue::as_bytes);
    let path = std::mem::take(&mut head.uri).into_parts().path_and_query;
    head.uri = absolute(scheme, authority, path)
        .map_err(|_invalid| Failure::new(FailureKind::BadRequest, "the request target cannot be sent over HTTP/2"))?;
    head.version = Version::HTTP_2;
    if headers::has(&head.headers, &header::CONNECTION) {
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::UPGRADE);
    }
    Ok(())
}
