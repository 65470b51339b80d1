//! Accepts clients and places each with the worker that has the fewest, of those that run.
//!
//! One listening socket and one acceptor spread connections evenly, which a group of sockets with SO_REUSEPORT does not,
//! and closing it loses no other worker's queue.

use std::{convert::Infallible, io, time::Duration};

use tokio::net::TcpListener;

use super::WorkerHandle;

/// Pause after `accept` failed for want of descriptors or memory, or while there are too many connections.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts clients until it is dropped.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    workers: Vec<WorkerHandle>,
    connections_max: usize,
}

impl Acceptor {
    /// # Errors
    /// The socket cannot be registered with the runtime, which must be running.
    pub fn new(
        listener: std::net::TcpListener,
        workers: Vec<WorkerHandle>,
        connections_max: usize,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::from_std(listener)?, workers, connections_max })
    }

    /// Accepts clients; returns only when every worker has ended, because then nobody serves them. Cancel-safe: a
    /// client is either placed or still in the kernel's queue.
    pub async fn run(&self) {
        tokio::select! {
            never = self.accept_clients() => match never {},
            () = self.all_ended() => {}
        }
    }

    async fn all_ended(&self) {
        for worker in &self.workers {
            worker.ended().await;
        }
    }

    async fn accept_clients(&self) -> Infallible {
        let mut complained = false;
        loop {
            if self.connections() >= self.connections_max {
                if !complained {
                    complained = true;
                    tracing::warn!(
                        connections_max = self.connections_max,
                        "Too many client connections; new ones wait in the kernel's queue."
                    );
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match self.listener.accept().await {
                Ok((stream, _peer)) => self.place(stream).await,
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "A client cannot be accepted; the proxy goes on trying.");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn connections(&self) -> usize {
        self.workers.iter().map(WorkerHandle::connections).sum()
    }

    async fn place(&self, stream: tokio::net::TcpStream) {
        let mut stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "A client connection was lost before it was placed."),
        };
        // A worker that has ended, which it may do while it is given the client, costs no client while there is another.
        while let Some(worker) = self.least_busy() {
            match worker.give(stream).await {
                Ok(()) => return,
                Err(back) => stream = back,
            }
        }
        tracing::debug!("A client connection was closed: no worker is left.");
    }

    fn least_busy(&self) -> Option<&WorkerHandle> {
        self.workers.iter().filter(|worker| !worker.has_ended()).min_by_key(|worker| worker.connections())
    }

    /// Places the clients that wait in the kernel's queue; closing the socket would reset them.
    pub async fn take_the_rest(&self) {
        while let Ok(Ok((stream, _peer))) = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await {
            self.place(stream).await;
        }
    }
}

/// The client gave up while it waited.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
