//! Upgraded connections (WebSocket): bytes both ways until both sides have ended. The lease lives as long.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Instant};

use http::{HeaderMap, HeaderValue, Response, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::{
    body::AnswerBody,
    exchange::{Exchange, Held},
    headers::{self, Seen},
};
use crate::{
    net,
    telemetry::FailureKind,
    upstream::{
        self, InFlight,
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
    let seen = Seen::of(&head.headers);
    headers::end_hop(&mut head.headers, seen);
    let seen = headers::edit_answer(&mut head.headers, seen, &held.service.service.settings.answer);
    headers::disown(&mut head.headers, seen);
    headers::mark(&mut head.headers, seen, exchange);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    let body = AnswerBody::Own { text: None, exchange: None };
    tokio::task::spawn_local(run(exchange.clone(), held.clone(), client, upstream, in_flight));
    Response::from_parts(head, body)
}

/// True if the server changes to what was asked for, and to nothing else (RFC 9110 section 7.8).
pub(super) fn is_agreed(asked: &HeaderValue, fields: &HeaderMap) -> bool {
    let mut agreed = fields.get_all(header::UPGRADE).iter().flat_map(protocols).peekable();
    agreed.peek().is_some() && agreed.all(|protocol| protocols(asked).any(|one| one.eq_ignore_ascii_case(protocol)))
}

fn protocols(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|protocol| !protocol.is_empty())
}

async fn run(exchange: Rc<Exchange>, held: Held, client: OnUpgrade, upstream: OnUpgrade, in_flight: InFlight) {
    held.lease.lift_limit(FailureKind::RequestTimeout);
    match while_permitted(&held, join(client, upstream)).await {
        Ok(Some((client, upstream))) => relay(&exchange, &held, client, upstream).await,
        // One side went away before the change was complete.
        Ok(None) => exchange.completed(Instant::now()),
        Err(cut) => exchange.fail(cut),
    }
    drop(in_flight);
}

async fn join(client: OnUpgrade, upstream: OnUpgrade) -> Option<(Upgraded, Upgraded)> {
    tokio::try_join!(client, upstream).inspect_err(|error| tracing::debug!(%error, "A tunnel was not opened.")).ok()
}

/// Copies both ways; each way ends by itself. What breaks off is reset on both sides, so that nobody takes it for an end.
async fn relay(exchange: &Rc<Exchange>, held: &Held, client: Upgraded, upstream: Upgraded) {
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    match while_permitted(held, copy_bidirectional(&mut client, &mut upstream)).await {
        Ok(Ok(_bytes)) => return exchange.completed(Instant::now()),
        // Which side broke off cannot be told; neither is a fault of the slot.
        Ok(Err(error)) => {
            tracing::debug!(%error, "A tunnel broke off.");
            exchange.completed(Instant::now());
        }
        Err(cut) => exchange.fail(cut),
    }
    net::cut_upgraded(client.into_inner());
    upstream::cut_upgraded(upstream.into_inner());
}

/// The future's output, unless a deadline of the slot or the tunnel's idle time comes first.
async fn while_permitted<F: Future>(held: &Held, future: F) -> Result<F::Output, FailureKind> {
    let idle = held.service.service.settings.timeouts.tunnel_idle;
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(interrupt) = held.lease.poll_interrupt(cx) {
            return Poll::Ready(Err(match interrupt {
                Interrupt::Cut => FailureKind::DrainCut,
                Interrupt::TimedOut => FailureKind::TunnelIdle,
                Interrupt::OverLimit(kind) => kind,
            }));
        }
        // Nothing wakes this task but bytes on either side.
        held.lease.set_idle(idle);
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_agreed_on() {
        for (asked, answered, agreed) in [
            ("websocket", &["WebSocket"][..], true),
            ("foo/2, bar", &["bar"], true),
            ("foo, bar", &["bar, foo"], true),
            ("foo", &["foo", "foo"], true),
            ("foo", &["bar"], false),
            ("foo", &["foo, bar"], false),
            ("foo", &["foo", "bar"], false),
            ("foo", &[""], false),
            ("foo", &[], false),
        ] {
            let mut fields = HeaderMap::new();
            for value in answered {
                fields.append(header::UPGRADE, value.parse().unwrap());
            }
            assert_eq!(is_agreed(&HeaderValue::from_static(asked), &fields), agreed, "{asked} {answered:?}");
        }
    }
}
