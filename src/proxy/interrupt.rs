//! Waiting with a lease: what its holder waits for ends when the lease is cut or over its limit.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::answer::Failure;
use crate::{
    telemetry::FailureKind,
    upstream::lease::{Interrupt, Lease},
};

/// The future's output, unless the lease's holder has to stop first.
pub(super) fn until_interrupt<F: Future>(lease: &Lease, future: F) -> UntilInterrupt<'_, F> {
    UntilInterrupt { lease, future }
}

pin_project! {
    /// See [`until_interrupt`]. Not an `async fn`, which would have room for the future twice.
    pub(super) struct UntilInterrupt<'l, F> {
        lease: &'l Lease,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for UntilInterrupt<'_, F> {
    type Output = Result<F::Output, Interrupt>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => this.lease.poll_interrupt(cx).map(Err),
        }
    }
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
