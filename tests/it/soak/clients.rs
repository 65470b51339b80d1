//! The soak's clients: every protocol, each request with an id that both sides note.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use tokio::{io::AsyncWriteExt as _, task::JoinSet};

use crate::support::{
    client::{Conn, infer, request},
    grpc::Channel,
    wait::within,
    websocket::WebSocket,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// May be sent again: no fault may ever show.
    Get,
    Infer,
    Http2,
    HalfClosed,
    /// May not be sent again.
    Order,
    Stream,
    /// Ends with its server.
    Tunnel,
    Grpc,
}

impl Kind {
    pub(super) const ALL: [Kind; 8] =
        [Kind::Get, Kind::Infer, Kind::Http2, Kind::HalfClosed, Kind::Order, Kind::Stream, Kind::Tunnel, Kind::Grpc];

    pub(super) fn must_never_fail(self) -> bool {
        matches!(self, Kind::Get | Kind::Infer | Kind::Http2 | Kind::HalfClosed)
    }
}

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) started: Instant,
    pub(super) ended: Instant,
    pub(super) result: Result<(), String>,
}

/// All clients.
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    done: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Clients {
    pub(super) fn start(addr: SocketAddr, of_each: usize) -> Self {
        let (stop, samples, done) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let mut clients = Self { stop, samples, done, tasks: JoinSet::new() };
        for kind in Kind::ALL {
            for number in 0..of_each {
                let (stop, samples, done) = (clients.stop.clone(), clients.samples.clone(), clients.done.clone());
                clients.tasks.spawn(run(kind, number, addr, stop, samples, done));
            }
        }
        clients
    }

    /// Waits until so many more requests have ended.
    pub(super) async fn more(&self, count: u64) {
        let goal = self.done.load(SeqCst) + count;
        crate::support::wait::until_true("the load to go on", || self.done.load(SeqCst) >= goal).await;
    }

    pub(super) async fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, SeqCst);
        within("the load's end", async { while self.tasks.join_next().await.is_some() {} }).await;
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

async fn run(
    kind: Kind,
    number: usize,
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    done: Arc<AtomicU64>,
) {
    let mut line = Line::None;
    for round in 0_usize.. {
        if stop.load(SeqCst) {
            return;
        }
        let id = format!("{kind:?}-{number}-{round}");
        let started = Instant::now();
        let call = tokio::time::timeout(Duration::from_secs(12), line.call(kind, &id, round, addr));
        let result = call.await.unwrap_or_else(|_late| Err("no end after 12 s".to_owned()));
        if result.is_err() {
            line = Line::None;
        }
        samples.lock().unwrap().push(Sample { kind, id, started, ended: Instant::now(), result });
        done.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 5)).await;
    }
}

/// A client's connection, opened when it is needed.
enum Line {
    None,
    Http(Conn),
    Http2(Channel),
}

impl Line {
    async fn call(&mut self, kind: Kind, id: &str, round: usize, addr: SocketAddr) -> Result<(), String> {
        let field = format!("x-soak-id: {id}\r\n");
        let wait = round * 3 % 8;
        match kind {
            Kind::Get => self.http(addr).await.plain(&request("GET", &format!("/?ms={wait}"), &field, b"")).await,
            Kind::Infer => {
                let call = infer(&format!("?ms={wait}"), &vec![b'x'; round * 131 % 9000]);
                self.http(addr).await.plain(&call).await
            }
            Kind::Order => {
                let call = request("POST", &format!("/orders?ms={wait}"), &field, b"one");
                self.http(addr).await.plain(&call).await
            }
            Kind::Stream => self.http(addr).await.stream(&field).await,
            Kind::HalfClosed => half_closed(addr, wait).await,
            Kind::Tunnel => tunnel(addr).await,
            Kind::Http2 => http2(self.channel(addr).await, wait).await,
            Kind::Grpc => grpc(self.channel(addr).await).await,
        }
    }

    async fn http(&mut self, addr: SocketAddr) -> &mut Conn {
        if !matches!(self, Line::Http(_)) {
            *self = Line::Http(Conn::open(addr).await);
        }
        match self {
            Line::Http(conn) => conn,
            Line::None | Line::Http2(_) => unreachable!("it was opened above"),
        }
    }

    async fn channel(&mut self, addr: SocketAddr) -> &Channel {
        if !matches!(self, Line::Http2(_)) {
            *self = Line::Http2(Channel::open(addr).await);
        }
        match self {
            Line::Http2(channel) => channel,
            Line::None | Line::Http(_) => unreachable!("it was opened above"),
        }
    }
}

trait Calls {
    async fn plain(&mut self, bytes: &[u8]) -> Result<(), String>;
    async fn stream(&mut self, field: &str) -> Result<(), String>;
}

impl Calls for Conn {
    async fn plain(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.wire.send(bytes).await.map_err(|bad| format!("send: {bad}"))?;
        let answer = self.try_answer("GET").await.map_err(|bad| format!("answer: {bad}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {:?}", answer.status, answer.error())) }
    }

    async fn stream(&mut self, field: &str) -> Result<(), String> {
        let call = request("GET", "/generate?do=sse&n=6&every=4", field, b"");
        self.wire.send(&call).await.map_err(|bad| format!("send: {bad}"))?;
        let head = self.try_head("GET").await.map_err(|bad| format!("head: {bad}"))?;
        if head.status != 200 {
            return Err(format!("status {}", head.status));
        }
        let mut last = String::new();
        while let Some(event) = self.try_event().await.map_err(|bad| format!("after {last:?}: {bad}"))? {
            last = event;
        }
        assert_eq!(last, "[DONE]", "a stream that was cut must not look complete");
        Ok(())
    }
}

/// A client that says that it has no more to send, and then waits for the answer.
async fn half_closed(addr: SocketAddr, wait: usize) -> Result<(), String> {
    let mut conn = Conn::open(addr).await;
    conn.wire.send(&infer(&format!("?ms={wait}"), b"{}")).await.map_err(|bad| format!("send: {bad}"))?;
    conn.wire.stream.shutdown().await.map_err(|bad| format!("shutdown: {bad}"))?;
    let answer = conn.try_answer("POST").await.map_err(|bad| format!("answer: {bad}"))?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{} {:?}", answer.status, answer.error())) }
}

async fn tunnel(addr: SocketAddr) -> Result<(), String> {
    let mut socket = WebSocket::try_open(addr).await.map_err(|bad| format!("handshake: {bad}"))?;
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.try_echo(&format!("frame {round}")).await.map_err(|bad| format!("frame {round}: {bad}"))?;
    }
    Ok(())
}

async fn http2(channel: &Channel, wait: usize) -> Result<(), String> {
    let call = Request::post(channel.uri(&format!("/v2/models/iris/infer?ms={wait}"))).body(()).unwrap();
    let (answer, mut send) = channel.request(call, false).await.map_err(|bad| format!("start: {bad}"))?;
    send.send_data(Bytes::from_static(b"{}"), true).map_err(|bad| format!("body: {bad}"))?;
    let answer = answer.await.map_err(|bad| format!("head: {bad}"))?;
    let status = answer.status();
    let mut body = answer.into_body();
    while let Some(part) = body.data().await {
        let part = part.map_err(|bad| format!("body: {bad}"))?;
        body.flow_control().release_capacity(part.len()).ok();
    }
    if status == 200 { Ok(()) } else { Err(format!("status {status}")) }
}

async fn grpc(channel: &Channel) -> Result<(), String> {
    let reply = channel.try_call("Unary", &["hello"]).await.map_err(|bad| format!("call: {bad}"))?;
    match reply.grpc_status().as_deref() {
        Some("0") if reply.messages.len() == 1 => Ok(()),
        status => Err(format!("grpc-status {status:?}")),
    }
}
