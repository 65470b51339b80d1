//! Sees to it that clients are accepted, by one worker at a time, for all of them.
//!
//! One listening socket and one acceptor spread connections evenly, which a group of sockets with SO_REUSEPORT does not,
//! and closing it loses no other worker's queue. The worker that accepts serves its share of the clients without a hop
//! between threads. When it ends, the next one takes over. While it hangs, this thread accepts in its place, and none
//! of the workers that hang gets a client while another one runs.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    WorkerHandle,
    intake::{Intake, Shift},
    worker::Command,
};
use crate::net::{HANDSHAKE_MAX, Listener};

/// How often workers are looked at: several of their ticks, because a busy machine makes them late.
const LOOK: Duration = Duration::from_millis(500);
/// How long the worker that accepts may take to hear that nobody is accepted any more.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often handshakes are looked for before the socket is closed.
const HANDSHAKE_LOOK: Duration = Duration::from_millis(20);

/// Accepts clients, from the first call of `run` until it is dropped.
#[derive(Debug)]
pub struct Acceptor {
    intake: Intake,
    shift: Option<RunningShift>,
}

#[derive(Debug)]
struct RunningShift {
    worker: WorkerHandle,
    /// Ends the shift when it is dropped.
    until: oneshot::Sender<Infallible>,
    over: oneshot::Receiver<Infallible>,
}

impl Acceptor {
    /// The socket must not block.
    pub fn new(listener: std::net::TcpListener, workers: Vec<WorkerHandle>, connections_max: usize) -> Self {
        let intake = Intake { listener: Arc::new(Listener::new(listener)), workers: workers.into(), connections_max };
        Self { intake, shift: None }
    }

    /// Has clients accepted; returns only when every worker has ended, because then nobody serves them. When it is
    /// cancelled, the worker that accepts goes on, but nobody takes its place if it ends or hangs.
    pub async fn run(&mut self) {
        while let Some(shift) = running(&mut self.shift, &self.intake).await {
            tokio::select! {
                // Its worker has ended.
                _ = &mut shift.over => self.shift = None,
                never = stand_in(&self.intake, &shift.worker) => match never {},
            }
        }
    }

    /// Has clients wait in the kernel until they ask, see [`Listener::defer`].
    pub fn defer(&self) {
        self.set_defer(true);
    }

    /// Has clients accepted until no handshake is half done, because closing the socket would reset it (E26); not much
    /// longer than a second. Cancel-safe.
    pub async fn finish_handshakes(&mut self) {
        self.set_defer(false);
        let listener = self.intake.listener.clone();
        let done = async {
            while listener.has_handshakes().await {
                tokio::time::sleep(HANDSHAKE_LOOK).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(HANDSHAKE_MAX, done) => {}
            () = self.run() => {}
        }
    }

    fn set_defer(&self, defer: bool) {
        if let Err(error) = self.intake.listener.defer(defer) {
            tracing::info!(%error, "The system does not defer clients; they are accepted when they have connected.");
        }
    }

    /// Has no more clients accepted, places those that wait in the kernel's queue, and closes the socket.
    pub async fn close(self) {
        if let Some(RunningShift { until, over, .. }) = self.shift {
            drop(until);
            // A worker that hangs lets go of the socket when it comes to; until then no client in the queue is reset.
            let _ = tokio::time::timeout(FAREWELL, over).await;
        }
        self.intake.take_the_rest().await;
    }
}

/// The shift that runs; else the first worker that runs begins one. `None` if there is none.
async fn running<'a>(shift: &'a mut Option<RunningShift>, intake: &Intake) -> Option<&'a mut RunningShift> {
    while shift.is_none() {
        let worker = intake.workers.iter().find(|worker| !worker.has_ended())?;
        let ((until, stopped), (ending, over)) = (oneshot::channel(), oneshot::channel());
        let order = Shift { intake: intake.clone(), until: stopped, over: ending };
        if worker.tell(Command::Accept(order)).await {
            *shift = Some(RunningShift { worker: worker.clone(), until, over });
        }
    }
    shift.as_mut()
}

/// Looks after the workers, and accepts clients itself while the one that should hangs. Without another worker there
/// is nobody who could serve them.
async fn stand_in(intake: &Intake, worker: &WorkerHandle) -> Infallible {
    if intake.workers.len() < 2 {
        return pending().await;
    }
    loop {
        look(intake).await;
        if worker.standing().hangs() {
            tracing::warn!("The worker that accepts clients hangs; they go to the others meanwhile.");
            let recovered = async {
                while worker.standing().hangs() {
                    look(intake).await;
                }
            };
            tokio::select! {
                never = intake.accept_clients(None) => match never {},
                () = recovered => {}
            }
        }
    }
}

async fn look(intake: &Intake) {
    tokio::time::sleep(LOOK).await;
    for worker in &*intake.workers {
        worker.standing().look();
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
