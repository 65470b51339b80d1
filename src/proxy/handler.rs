//! The handler: one call per request, from its head to the head of its answer.

use std::{convert::Infallible, rc::Rc, time::Instant};

use http::{Request, Response, header};
use hyper::body::Incoming;

use super::{
    answer,
    answer::Failure,
    assign,
    body::AnswerBody,
    exchange::{Client, Exchange},
    forward, headers, route,
    worker::Worker,
};

/// Answers one request. Never fails: a failure is an answer too. Dropping the future cancels the upstream request.
pub(super) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let exchange = Exchange::new(&worker, &client, &head, is_grpc(&head), started);
    let version = head.version;
    let result = pass(&exchange, head, body).await;
    let mut answer = result.unwrap_or_else(|failure| answer::failure(&exchange, &failure, version));
    if client.conn.is_closing() && version < http::Version::HTTP_2 {
        answer.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    Ok(answer)
}

async fn pass(
    exchange: &Rc<Exchange>,
    mut head: http::request::Parts,
    body: Incoming,
) -> Result<Response<AnswerBody>, Failure> {
    route::normalise(&mut head)?;
    let held = assign::assign(&exchange.worker, &head, exchange.started)?;
    exchange.hold(held);
    let upgrade = headers::upgrade_wanted(head.version, &head.headers);
    headers::end_hop(&mut head.headers);
    headers::join_cookies(&mut head.headers);
    headers::set_forwarding(&mut head.headers, exchange);
    forward::forward(exchange, head, body, upgrade).await
}

fn is_grpc(head: &http::request::Parts) -> bool {
    head.version == http::Version::HTTP_2
        && head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
