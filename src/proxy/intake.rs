//! Takes clients from the listening socket and places each with the worker that has the fewest, of those that run.
//!
//! It works on whichever thread has the shift. A client of that thread's own worker is served there at once; for
//! another worker it goes into that one's inbox. Room is had before a client is taken, so that none is in hand while
//! anything is waited for.

use std::{convert::Infallible, io, net::TcpStream, rc::Rc, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    WorkerHandle,
    standing::{Accepted, OpenConnection, Standing},
    worker::{Command, Worker},
};
use crate::net::{Listener, Lookout};

/// Pause after `accept` failed for want of descriptors or memory, or while there are too many connections.
const PAUSE: Duration = Duration::from_millis(50);

/// Clients that are taken before others on the thread have their turn.
const IN_A_ROW: usize = 16;

/// Whoever has one can accept clients. Cloning shares it; the socket is closed with the last one.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    pub(super) listener: Arc<Listener>,
    pub(super) workers: Arc<[WorkerHandle]>,
    pub(super) connections_max: usize,
}

/// A worker's order to accept clients, for all workers.
#[derive(Debug)]
pub struct Shift {
    pub(super) intake: Intake,
    /// It is over when the other end is dropped.
    pub(super) until: oneshot::Receiver<Infallible>,
    /// Dropped when nobody is accepted any more, and the socket is let go.
    pub(super) over: oneshot::Sender<Infallible>,
}

/// Where the next client goes.
enum Place<'a> {
    Here(&'a Rc<Worker>),
    There(&'a WorkerHandle, mpsc::Permit<'a, Command>),
}

/// What the workers have, and who is to have the next client.
struct Survey<'a> {
    connections: usize,
    next: Option<&'a WorkerHandle>,
}

impl Shift {
    pub(super) async fn work(self, worker: &Rc<Worker>) {
        let Self { intake, until, over } = self;
        tokio::select! {
            biased;
            _ = until => {}
            never = intake.accept_clients(Some(worker)) => match never {},
        }
        drop(intake);
        drop(over);
    }
}

impl Place<'_> {
    fn put(self, stream: TcpStream, peer: std::net::SocketAddr) {
        let accepted =
            |standing: &Arc<Standing>| Accepted { stream, peer: peer.ip(), open: OpenConnection::count(standing) };
        match self {
            Place::Here(worker) => worker.serve(accepted(worker.standing())),
            Place::There(worker, room) => room.send(Command::Serve(accepted(worker.standing()))),
        }
    }
}

impl Intake {
    /// Accepts clients for ever. `here` is the worker whose thread this is. Cancel-safe: a client is either placed or
    /// still in the kernel's queue.
    pub(super) async fn accept_clients(&self, here: Option<&Rc<Worker>>) -> Infallible {
        let lookout = loop {
            match self.listener.lookout() {
                Ok(lookout) => break lookout,
                Err(error) => complain(&error).await,
            }
        };
        let (mut complained, mut taken) = (false, 0);
        loop {
            let survey = self.survey(here);
            if survey.connections >= self.connections_max {
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
            let Some(place) = place(&survey, here) else {
                self.wait_for_room().await;
                continue;
            };
            match accept(&lookout, place) {
                Ok(()) if taken < IN_A_ROW => taken += 1,
                Ok(()) => {
                    taken = 0;
                    tokio::task::yield_now().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    taken = 0;
                    if let Err(error) = lookout.client().await {
                        complain(&error).await;
                    }
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => complain(&error).await,
            }
        }
    }

    /// Places the clients that wait in the kernel's queue; closing the socket would reset them.
    pub(super) async fn take_the_rest(&self) {
        while self.workers.iter().any(|worker| !worker.has_ended()) {
            let Some(place) = place(&self.survey(None), None) else {
                self.wait_for_room().await;
                continue;
            };
            match self.listener.accept() {
                Ok((stream, peer)) => place.put(stream, peer),
                Err(error) if is_the_clients(&error) => {}
                Err(_none_waits) => return,
            }
        }
    }

    /// The next client goes to the worker that has the fewest, of those that run. One that hangs gets none while
    /// another has room. Where it makes no difference, no thread is woken.
    fn survey(&self, here: Option<&Rc<Worker>>) -> Survey<'_> {
        let (mut connections, mut next, mut fewest) = (0, None, None);
        for worker in self.workers.iter().filter(|worker| !worker.has_ended()) {
            let standing = worker.standing();
            connections += standing.connections();
            let elsewhere = here.is_none_or(|here| !Arc::ptr_eq(here.standing(), standing));
            let burden = (standing.hangs(), standing.connections(), elsewhere);
            if worker.has_room() && fewest.is_none_or(|fewest| burden < fewest) {
                (next, fewest) = (Some(worker), Some(burden));
            }
        }
        Survey { connections, next }
    }

    /// Returns when a worker that runs has room, maybe.
    async fn wait_for_room(&self) {
        let rooms = self.workers.iter().filter(|worker| !worker.has_ended()).min_by_key(|worker| worker.connections());
        match rooms {
            Some(worker) => worker.wait_for_room().await,
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `None` if the worker has filled up or ended meanwhile, or there was none.
fn place<'a>(survey: &Survey<'a>, here: Option<&'a Rc<Worker>>) -> Option<Place<'a>> {
    let next = survey.next?;
    match here {
        Some(here) if Arc::ptr_eq(here.standing(), next.standing()) => Some(Place::Here(here)),
        _ => Some(Place::There(next, next.room()?)),
    }
}

fn accept(lookout: &Lookout<'_>, place: Place<'_>) -> io::Result<()> {
    let (stream, peer) = lookout.accept()?;
    place.put(stream, peer);
    Ok(())
}

async fn complain(error: &io::Error) {
    tracing::error!(%error, "A client cannot be accepted; the proxy goes on trying.");
    tokio::time::sleep(PAUSE).await;
}

/// The client gave up while it waited.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
