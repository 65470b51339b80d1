//! The request as an upstream connection is to have it.

use http::{HeaderValue, Request, Version, header};

use super::{
    answer::{Failure, internal},
    exchange::Held,
    forward::Courier,
    headers, interim, retry,
};
use crate::{
    telemetry::FailureKind,
    upstream::{Conn, Pool, RequestBody, declare_no_body, to_http2},
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
            to_http2(&mut head, scheme, default).map_err(|_invalid| {
                Failure::new(FailureKind::BadRequest, "the request target cannot be sent over HTTP/2")
            })?;
            headers::leave_unindexed(&mut head.headers);
            // hyper does not tell what an HTTP/2 server says before its answer.
            if let Some(expectation) = expectation {
                head.headers.remove(header::EXPECT);
                expectation.fulfil();
            }
        } else {
            head.version = Version::HTTP_11;
            if self.body.is_some() && !headers::has(&head.headers, &header::CONTENT_LENGTH) {
                // The HTTP library would send a GET without its body otherwise.
                head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if self.body.is_none() {
                declare_no_body(&mut head);
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
