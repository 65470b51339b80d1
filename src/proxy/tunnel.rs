//! Upgraded connections (WebSocket): bytes both ways until both sides have ended. The lease lives as long.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use http::{HeaderValue, Response, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::{
    body::AnswerBody,
    exchange::{Exchange, Held},
    headers,
};
use crate::{
    telemetry::FailureKind,
    upstream::{
        InFlight,
        lease::{Interrupt, LeaseKind},
    },
};

/// The 101 for the client; the tunnel itself runs on in a task of its own, where the slot is held until it ends.
pub(super) fn open(
    exchange: &Rc<Exchange>,
    held: &Held,
    answer: Response<()>,
    client: OnUpgrade,
    upstream: OnUpgrade,
    in_flight: InFlight,
) -> Response<AnswerBody> {
    held.lease.classify(LeaseKind::Tunnel);
    exchange.client.conn.become_tunnel();
    exchange.answered(answer.status().as_u16(), true);
    let (mut head, ()) = answer.into_parts();
    let protocol = head.headers.get(header::UPGRADE).cloned();
    headers::end_hop(&mut head.headers);
    headers::disown(&mut head.headers);
    headers::mark(&mut head.headers, exchange);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    let body = AnswerBody::Own { text: None, exchange: None };
    tokio::task::spawn_local(run(exchange.clone(), held.clone(), client, upstream, in_flight));
    Response::from_parts(head, body)
}

async fn run(exchange: Rc<Exchange>, held: Held, client: OnUpgrade, upstream: OnUpgrade, in_flight: InFlight) {
    let ended = {
        let mut tunnel = pin!(relay(client, upstream));
        poll_fn(|cx| {
            if let Poll::Ready(Interrupt::Cut) = held.lease.poll_interrupt(cx) {
                return Poll::Ready(Err(FailureKind::DrainCut));
            }
            tunnel.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    match ended {
        Ok(Ok(())) => exchange.completed(),
        // Which side broke off cannot be told; neither is a fault of the slot.
        Ok(Err(error)) => {
            tracing::debug!(%error, "A tunnel broke off.");
            exchange.completed();
        }
        Err(cut) => exchange.fail(cut),
    }
    drop(in_flight);
}

async fn relay(client: OnUpgrade, upstream: OnUpgrade) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, upstream) = tokio::try_join!(client, upstream)?;
    copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await?;
    Ok(())
}
