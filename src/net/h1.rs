//! One HTTP/1.1 connection: spells of requests, and the rest between them.
//!
//! hyper keeps its buffers, some 16 KiB, for as long as a connection is open. Most connections of a busy proxy are idle
//! most of the time, so after a while without a request hyper's part is taken down and only the stream is kept; the
//! client's next byte builds it up again. That is sound only between requests, with nothing left to write:
//! [`ClientConn::may_rest`](super::ClientConn) decides.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1::Builder, service::Service};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::{
    ConnRules,
    abort::Abortable,
    conn::Doing,
    downstream::Downstream,
    hush::Hush,
    patrol::{Order, Watched},
    refusal::Refusals,
    serve::until_order,
};
use crate::telemetry::FailureKind;

/// What a spell leaves behind when it ends in a rest.
struct Resting<S> {
    /// Boxed, because on its way into hyper's parts it is moved nine times.
    stream: Box<Downstream>,
    service: S,
}

/// Serves the connection to its end. Dropping the future closes it at once.
pub(super) async fn serve_h1<S, B>(
    stream: Box<Downstream>,
    service: S,
    rules: &ConnRules,
    watched: &Watched,
    refusals: &impl Refusals,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut resting, mut order) = (Resting { stream, service }, None);
    loop {
        let Resting { stream, service } = resting;
        let spell = spell(rules.h1(stream.is_in_clear()), stream, service, order, watched, refusals);
        // An HTTP/2 connection is ended stream by stream, each in a task of its own; this one as a whole.
        let Some(Some(rest)) = Abortable::new(spell).await else { return };
        resting = *rest;
        order = until_word(&mut resting.stream, watched).await;
        if order == Some(Order::Sever) {
            return;
        }
    }
}

/// Serves requests until the connection ends, or rests; what is left is boxed, because most connections leave nothing. Not an
/// `async fn`, which would have room for hyper's part twice.
fn spell<S, B>(
    builder: &Builder,
    stream: Box<Downstream>,
    service: S,
    order: Option<Order>,
    watched: &Watched,
    refusals: &impl Refusals,
) -> impl Future<Output = Option<Box<Resting<S>>>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut conn = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    async move {
        let mut timed_out = None;
        if order.is_some() {
            Pin::new(&mut conn).graceful_shutdown();
        }
        watched.conn.set_resting(false);
        let (mut rests, hush) = (false, Hush::new(watched.conn.clone()));
        loop {
            let turn = poll_fn(|cx| hush.poll(Pin::new(&mut conn), cx));
            match until_order(pin!(turn), watched).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    // What the client sent could not be read to its end; the 4xx that says so must reach it.
                    watched.conn.must_linger();
                    tracing::debug!(%error, client = %watched.conn.peer, "A client connection ended with an error.");
                    break;
                }
                Err(Order::Rest) if watched.conn.may_rest() => {
                    rests = true;
                    break;
                }
                Err(Order::Rest | Order::Look | Order::Announce) => {}
                Err(Order::Sever) => return None,
                Err(Order::Expire) if watched.conn.doing() == Doing::Head => {
                    timed_out = Some(FailureKind::HeaderTimeout);
                    break;
                }
                Err(Order::Finish | Order::Expire) => Pin::new(&mut conn).graceful_shutdown(),
            }
        }
        if !rests && timed_out.is_none() && !watched.conn.has_refused() {
            return None;
        }
        let parts = conn.into_parts()?;
        let stream = parts.io.into_inner();
        if rests {
            // Bytes of a request's body that nobody took would be read as a head by the next spell: such a connection ends.
            if !parts.read_buf.is_empty() {
                watched.conn.must_linger();
                return None;
            }
            watched.conn.set_resting(true);
            return Some(Box::new(Resting { stream, service: parts.service }));
        }
        if let Some(kind) = timed_out.or(stream.refused()) {
            watched.conn.must_linger();
            Box::pin(refuse_head(stream, refusals.refuse(watched.conn.peer, kind))).await;
        }
        None
    }
}

/// Returns when the client has sent something, or is gone; or with an order that ends the rest.
async fn until_word(stream: &mut Downstream, watched: &Watched) -> Option<Order> {
    let mut word = pin!(poll_fn(|cx| stream.poll_word(cx)));
    loop {
        match until_order(word.as_mut(), watched).await {
            Ok(()) => return None,
            Err(Order::Rest | Order::Look | Order::Announce) => {}
            Err(order @ (Order::Finish | Order::Expire | Order::Sever)) => return Some(order),
        }
    }
}

/// Tells the client why its head was not taken. It may be gone; there is nobody to tell then.
async fn refuse_head(mut stream: Box<Downstream>, answer: Bytes) {
    stream.speak();
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
#[path = "h1_tests.rs"]
mod tests;
