//! The handler: one call per request, from its head to the head of its answer.

use std::{convert::Infallible, rc::Rc};

use http::{Request, Response, header};
use hyper::body::Incoming;

use super::{
    answer,
    answer::Failure,
    assign,
    body::AnswerBody,
    exchange::{Client, Exchange},
    forward, forwards,
    headers::{self, Seen},
    http2, preview, route,
    worker::Worker,
};
use crate::net::moment;

/// Answers one request. Never fails: a failure is an answer too. Dropping the future cancels the upstream request.
///
/// The future is copied a few times on its way to where it runs, and one of its kind is kept by each HTTP/1.1 connection:
/// it is to be small. So what hardly a request does is boxed where it begins, and the head stays where it is.
pub(super) fn handle(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + use<> {
    let started = moment();
    let (mut head, body) = request.into_parts();
    let seen = Seen::of(&head.headers);
    let exchange = Exchange::new(worker, client, &head, seen, &body, is_grpc(&head, seen), started);
    async move {
        let version = head.version;
        let result = pass(&exchange, &mut head, seen, body).await;
        let mut answer = result.unwrap_or_else(|failure| answer::failure(&exchange, &failure, version));
        if exchange.client.conn.is_closing() && version < http::Version::HTTP_2 {
            answer.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
        }
        Ok(answer)
    }
}

async fn pass(
    exchange: &Rc<Exchange>,
    head: &mut http::request::Parts,
    seen: Seen,
    mut body: Incoming,
) -> Result<Response<AnswerBody>, Failure> {
    route::normalise(head, seen)?;
    if head.version == http::Version::HTTP_2 {
        let (fields_max, patience) = exchange.worker.head_limits();
        http2::check_count(&head.headers, fields_max)?;
        if http2::has_yet_to_end(&head.headers, &body) {
            Box::pin(http2::await_end(&mut body, patience)).await?;
        }
    }
    if forwards::step(head) == forwards::Reach::Here {
        return Ok(forwards::answer(exchange, head));
    }
    let held = assign::first(exchange, head)?;
    if let Some(rules) = &held.service.service.preview {
        preview::keep_token(rules, &mut head.headers);
    }
    exchange.hold(held.clone());
    let upgrade = headers::upgrade_wanted(head.version, &head.headers, seen);
    headers::end_hop(&mut head.headers, seen);
    headers::join_cookies(&mut head.headers, seen);
    headers::add_via(&mut head.headers, head.version);
    headers::set_forwarding(&mut head.headers, seen, exchange);
    forward::forward(exchange, head, body, held, upgrade).await
}

/// A gRPC call: HTTP/2, and a content type of gRPC's own; gRPC-Web is ordinary HTTP.
fn is_grpc(head: &http::request::Parts, seen: Seen) -> bool {
    if !seen.has(Seen::CONTENT_TYPE) || head.version != http::Version::HTTP_2 {
        return false;
    }
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (version, kind, grpc) in [
            (http::Version::HTTP_2, "application/grpc", true),
            (http::Version::HTTP_2, "application/grpc+proto", true),
            (http::Version::HTTP_2, "application/grpc;charset=utf-8", true),
            (http::Version::HTTP_2, "application/grpc-web+proto", false),
            (http::Version::HTTP_2, "application/json", false),
            (http::Version::HTTP_11, "application/grpc", false),
        ] {
            let request = Request::builder().version(version).header(header::CONTENT_TYPE, kind).body(()).unwrap();
            let seen = Seen::of(request.headers());
            assert_eq!(is_grpc(&request.into_parts().0, seen), grpc, "{version:?} {kind}");
        }
    }
}
