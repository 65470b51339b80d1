//! The request as an upstream connection is to have it.

use http::{
    HeaderValue, Request, Uri, Version, header,
    request::Parts,
    uri::{self, PathAndQuery, Scheme},
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
            if self.body.is_some() && !head.headers.contains_key(header::CONTENT_LENGTH) {
                // The HTTP library would send a GET without its body otherwise.
                head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if self.body.is_none() && expects_body(&head) && !head.headers.contains_key(header::CONTENT_LENGTH) {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            if !head.headers.contains_key(header::HOST)
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

/// HTTP/2's form: the authority in the target, no `Host`.
fn to_http2(head: &mut Parts, scheme: &str, default_authority: &str) -> Result<(), Failure> {
    let host = head.headers.remove(header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(default_authority);
    let target = std::mem::take(&mut head.uri).into_parts();
    head.uri = whole_target(target, scheme, authority)
        .ok_or_else(|| Failure::new(FailureKind::BadRequest, "the request target cannot be sent over HTTP/2"))?;
    head.version = Version::HTTP_2;
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::UPGRADE);
    headers::leave_unindexed(&mut head.headers);
    Ok(())
}

/// The target with its scheme and authority. What it has of them already is not parsed again.
fn whole_target(mut target: uri::Parts, scheme: &str, authority: &str) -> Option<Uri> {
    if target.authority.as_ref().is_none_or(|known| known.as_str() != authority) {
        target.authority = Some(authority.parse().ok()?);
    }
    target.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    target.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(target).ok()
}
