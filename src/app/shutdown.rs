//! The end, in order: not ready → no new clients → what runs finishes → control and admin end.

use std::time::{Duration, Instant};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::error::Elapsed,
};

use super::start::Parts;
use crate::{
    control::Handle,
    proxy::{Command, WorkerHandle},
    upstream::Workers,
};

/// How far a shutdown has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    No,
    /// Finish what runs.
    Gracefully,
    /// Cut what runs.
    Now,
}

/// Returns when either has come as far as `wanted`.
pub(super) async fn until(stopped: &mut watch::Receiver<Stop>, signalled: &mut watch::Receiver<Stop>, wanted: Stop) {
    let reached = |stop: &Stop| *stop >= wanted;
    let stopped = async {
        if stopped.wait_for(reached).await.is_err() {
            // Its sender is gone with `Running`, which has said what it wanted.
            std::future::pending::<()>().await;
        }
    };
    let signalled = async {
        if signalled.wait_for(reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = signalled => {}
    }
}

/// The signals that mean something. From `register` on they no longer kill the process.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// To be called before anything is served, on a runtime.
    pub(super) fn register() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// SIGHUP reads the config file; SIGTERM and SIGINT shut down, the second one at once.
    pub(super) async fn listen(mut self, handle: Handle, down: watch::Sender<Stop>) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    // The outcome is in the log and the status. Its gates may take minutes, in which other signals count.
                    let handle = handle.clone();
                    tokio::spawn(async move { drop(handle.reload("signal SIGHUP".to_owned()).await) });
                    continue;
                }
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            let next = if *down.borrow() == Stop::No { Stop::Gracefully } else { Stop::Now };
            tracing::info!(at_once = next == Stop::Now, "Shutdown was asked for by a signal.");
            down.send_replace(next);
        }
    }
}

/// Ends in order: not ready → no new clients → what runs finishes → control and admin end. Things end when they are
/// empty; only a configured deadline or a second signal cuts.
pub(super) async fn shut_down(
    mut parts: Parts,
    mut stopped: watch::Receiver<Stop>,
    mut signalled: watch::Receiver<Stop>,
) {
    let shutdown = parts.settings.proxy.shutdown.clone();
    let at_once = shutdown.delay.is_zero();
    if at_once {
        // Nobody in front is waited for: who sees the 503 finds clients already being told.
        announce(&parts.workers).await;
    }
    parts.handle.announce_shutdown();
    // Clients are still accepted while the load balancer in front has not noticed yet.
    let delayed = tokio::time::timeout(shutdown.delay, parts.acceptor.run());
    tokio::select! {
        _ = delayed => {}
        () = until(&mut stopped, &mut signalled, Stop::Now) => {}
    }
    tokio::select! {
        () = parts.acceptor.finish_handshakes() => {}
        () = until(&mut stopped, &mut signalled, Stop::Now) => {}
    }
    parts.acceptor.close().await;
    if !at_once {
        announce(&parts.workers).await;
    }
    linger(&parts.workers, shutdown.linger, until(&mut stopped, &mut signalled, Stop::Now)).await;
    for worker in &parts.workers {
        worker.tell(Command::Finish).await;
    }
    let ended = tokio::task::spawn_blocking(move || {
        for thread in parts.threads {
            // A panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    });
    let deadline = async {
        match shutdown.deadline {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(ended);
    let why = tokio::select! {
        _ = &mut ended => None,
        () = deadline => Some("the shutdown deadline is over"),
        () = until(&mut stopped, &mut signalled, Stop::Now) => Some("shutdown was asked for at once"),
    };
    if let Some(why) = why
        && cut_and_wait(&parts.orders, why, ended).await.is_err()
    {
        tracing::warn!("Some connections did not end after they were cut; the process ends without them.");
    }
    parts.watch.abort();
    parts.handle.stop().await;
    // An error only says that the admin server has ended already.
    let _ = parts.admin_stop.send(());
    // It gives its callers a few seconds and ends by itself.
    tokio::select! {
        _ = parts.admin => {}
        () = until(&mut stopped, &mut signalled, Stop::Now) => {}
    }
    tracing::info!("Verdigris has ended.");
}

/// From here on clients are told: answers say `Connection: close`, HTTP/2 says GOAWAY.
async fn announce(workers: &[WorkerHandle]) {
    for worker in workers {
        let (heard, told) = tokio::sync::oneshot::channel();
        if worker.tell(Command::Announce(heard)).await {
            // An error only says that the worker has ended.
            let _ = told.await;
        }
    }
}

/// Reads idle clients a while longer: a request that is under way on an idle connection must not meet a reset (E17).
async fn linger(workers: &[WorkerHandle], limit: Duration, at_once: impl Future<Output = ()>) {
    let started = Instant::now();
    let empty = async {
        while started.elapsed() < limit && workers.iter().any(|worker| worker.connections() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = empty => {}
        () = at_once => {}
    }
}

/// Cuts what runs, and gives it a moment to end.
async fn cut_and_wait<T>(orders: &Workers, why: &str, ended: impl Future<Output = T>) -> Result<T, Elapsed> {
    let leases = orders.cut(None).await;
    tracing::warn!(leases, "What still ran was cut: {why}.");
    tokio::time::timeout(Duration::from_secs(2), ended).await
}
