//! The steady load: inferences at a fixed rate over keep-alive connections, and token streams that never pause.
//!
//! Invariants: a request is sent once, never again after a failure; every answer is checked and booked; a connection is
//! closed from this side only at the end or after an answer that never came. Never: admin, slots.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Limited};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval_at, timeout},
};

use super::{
    HASTE,
    check::{Fault, Path, StreamCheck, check_answer, check_head},
    classifier::Version,
    client::{Client, request},
    iris::flower,
    ledger::{Ledger, Times},
    protocol::inference_body,
};

/// Client connections that send inferences.
pub(super) const CONNECTIONS: u32 = 16;

/// Inferences a second over all of them.
pub(super) const RATE: u32 = 200;

/// Token streams that run at any time.
pub(super) const STREAMS: u32 = 8;

/// Between the starts of two stream clients, so that their ends spread over time.
const STREAM_STAGGER: Duration = Duration::from_millis(240 / HASTE);

/// An answer, or the next token, that takes longer is late.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a failed stream, so that a dead proxy is not hammered.
const STREAM_PAUSE: Duration = Duration::from_millis(200);

/// What is still running this long after the load was told to finish never ends: longer than a stream plus patience.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);

/// An answer about one flower is a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where the load goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) path: Path,
}

/// A running load. Dropping it cuts it off without booking what was still open.
#[derive(Debug)]
pub(super) struct Load {
    finish: watch::Sender<bool>,
    clients: JoinSet<()>,
    ledger: Arc<Ledger>,
}

impl Load {
    /// Starts the load; it is booked in the ledger.
    pub(super) fn start(target: Target, ledger: &Arc<Ledger>) -> Load {
        let (finish, finishing) = watch::channel(false);
        let mut clients = JoinSet::new();
        let worker = |number| Worker { target, number, ledger: Arc::clone(ledger), client: Client::new(target.addr) };
        for number in 0..CONNECTIONS {
            clients.spawn(worker(number).infer_until(finishing.clone()));
        }
        for number in 0..STREAMS {
            clients.spawn(worker(number).stream_until(finishing.clone()));
        }
        Load { finish, clients, ledger: Arc::clone(ledger) }
    }

    /// Starts nothing new and waits for what is open, a stream's length at most; what hangs is booked as lost.
    pub(super) async fn finish(mut self) {
        self.finish.send_replace(true);
        let all_ended = async { while self.clients.join_next().await.is_some() {} };
        if timeout(FINISH_PATIENCE, all_ended).await.is_err() {
            (0..self.clients.len()).for_each(|_| self.ledger.lost(&Fault::Late));
        }
    }
}

/// One client with a connection of its own.
#[derive(Debug)]
struct Worker {
    target: Target,
    number: u32,
    ledger: Arc<Ledger>,
    client: Client,
}

impl Worker {
    /// Ticks that were missed behind a slow answer are made up for, so that the rate holds.
    async fn infer_until(mut self, mut finishing: watch::Receiver<bool>) {
        let first = Instant::now() + Duration::from_secs(1) * self.number / RATE;
        let mut ticks = interval_at(first, Duration::from_secs(1) * CONNECTIONS / RATE);
        for row in (self.number as usize..).step_by(CONNECTIONS as usize) {
            tokio::select! {
                biased;
                () = told(&mut finishing) => break,
                _ = ticks.tick() => self.infer(row).await,
            }
        }
        self.book_lost_connections();
    }

    async fn infer(&mut self, row: usize) {
        let sent = Instant::now();
        let outcome = timeout(PATIENCE, self.ask(row)).await.unwrap_or_else(|_| {
            self.client.close();
            Err(Fault::Late)
        });
        match outcome {
            Ok((version, label)) => {
                let times = Times { sent, ended: Instant::now() };
                self.ledger.answered(times, version, label == flower(row).label);
            }
            Err(fault) => self.ledger.lost(&fault),
        }
        self.book_lost_connections();
    }

    async fn ask(&mut self, row: usize) -> Result<(Version, usize), Fault> {
        let (head, body) = self.client.send(self.post("infer", row)?).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| self.body_fault(error))?;
        check_answer(check_head(&head, self.target.path)?, &body.to_bytes())
    }

    async fn stream_until(mut self, mut finishing: watch::Receiver<bool>) {
        let mut pause = STREAM_STAGGER * self.number;
        for row in (self.number as usize * 17..).step_by(31) {
            tokio::select! {
                biased;
                () = told(&mut finishing) => break,
                () = tokio::time::sleep(pause) => pause = self.stream(row).await,
            }
        }
        self.book_lost_connections();
    }

    /// Runs one stream; returns the pause before the next.
    async fn stream(&mut self, row: usize) -> Duration {
        let sent = Instant::now();
        self.ledger.stream_began();
        let end = self.listen(row).await;
        let pause = if end.is_ok() { Duration::ZERO } else { STREAM_PAUSE };
        if end.is_err() {
            // What is left of a bad stream must not be taken for the next one's.
            self.client.close();
        }
        self.ledger.stream_ended(Times { sent, ended: Instant::now() }, end);
        self.book_lost_connections();
        pause
    }

    async fn listen(&mut self, row: usize) -> Result<Version, Fault> {
        let request = self.post("generate_stream", row)?;
        let (head, mut body) = in_time(self.client.send(request)).await??.into_parts();
        let mut check = StreamCheck::new(check_head(&head, self.target.path)?);
        while let Some(frame) = in_time(body.frame()).await? {
            let frame = frame.inspect_err(|_| self.client.broke())?;
            check.feed(frame.data_ref().map(AsRef::as_ref).unwrap_or_default())?;
        }
        check.end()
    }

    fn post(&self, verb: &str, row: usize) -> Result<http::Request<http_body_util::Full<bytes::Bytes>>, Fault> {
        let body = inference_body(&[flower(row).features]).to_string();
        let path = format!("/v2/models/iris/{verb}");
        request(self.target.addr, &path, Some(body)).map_err(|error| Fault::Malformed(error.to_string()))
    }

    /// The body broke off, or was longer than any answer should be.
    fn body_fault(&mut self, error: Box<dyn std::error::Error + Send + Sync>) -> Fault {
        match error.downcast::<hyper::Error>() {
            Ok(broken) => {
                self.client.broke();
                (*broken).into()
            }
            Err(other) => {
                self.client.close();
                Fault::Malformed(other.to_string())
            }
        }
    }

    fn book_lost_connections(&mut self) {
        self.ledger.connections_lost(self.client.take_lost());
    }
}

/// Also ends when the load was dropped.
async fn told(finishing: &mut watch::Receiver<bool>) {
    drop(finishing.wait_for(|finish| *finish).await);
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(PATIENCE, work).await.map_err(|_elapsed| Fault::Late)
}
