//! Waiting with a lease: what its holder waits for ends when the lease is cut or over its limit.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::answer::Failure;
use crate::{
    telemetry::FailureKind,
    upstream::lease::{Interrupt, Lease},
};

/// The future's output, unless the lease's holder has to stop first.
pub(super) async fn until_interrupt<F: Future>(lease: &Lease, future: F) -> Result<F::Output, Interrupt> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => lease.poll_interrupt(cx).map(Err),
    })
    .await
}

pub(super) fn interrupted(interrupt: Interrupt) -> Failure {
    match interrupt {
        Interrupt::OverLimit(kind @ FailureKind::DeadlineExceeded) => {
            Failure::new(kind, "the call was not done within its grpc-timeout")
        }
        Interrupt::OverLimit(kind) => Failure::new(kind, "the request took longer than it may in all"),
        Interrupt::Cut => Failure::new(FailureKind::DrainCut, "the slot's drain deadline is over"),
        Interrupt::TimedOut => Failure::new(FailureKind::UpstreamTimeout, "no answer within timeouts.first_byte"),
    }
}
