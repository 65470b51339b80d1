//! A mixed load on client connections that live as long as the load: what each request was answered by, and every
//! failure with its kind. A connection that the proxy closes is a failure, too.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    client::{Answer, Conn, get, infer},
    grpc::{Channel, text},
    wait::within,
    websocket::WebSocket,
};

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Get,
    Post,
    Sse,
    WebSocket,
    GrpcUnary,
    GrpcBidi,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Get, Kind::Post, Kind::Sse, Kind::WebSocket, Kind::GrpcUnary, Kind::GrpcBidi];
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    /// The colour that answered, or what went wrong.
    pub(crate) result: Result<String, String>,
}

/// One switch call.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    pub(crate) to: String,
    pub(crate) called: Instant,
    pub(crate) returned: Instant,
}

/// A running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    pub(crate) done: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

type Outcome = Result<String, String>;

impl Load {
    /// Starts these clients, one task and one connection each.
    pub(crate) fn start(addr: SocketAddr, clients: &[(Kind, usize)]) -> Self {
        let mut load = Self {
            stop: Arc::new(AtomicBool::new(false)),
            samples: Arc::default(),
            done: Arc::default(),
            clients: JoinSet::new(),
        };
        for (kind, count) in clients {
            for seed in 0..*count {
                load.clients.spawn(client(
                    *kind,
                    seed,
                    addr,
                    load.stop.clone(),
                    load.samples.clone(),
                    load.done.clone(),
                ));
            }
        }
        load
    }

    /// Waits until so many more requests have ended.
    pub(crate) async fn more(&self, count: u64) {
        let goal = self.done.load(SeqCst) + count;
        super::wait::until_true("the load to go on", || self.done.load(SeqCst) >= goal).await;
    }

    /// Ends the load; every client ends its last request first.
    pub(crate) async fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, SeqCst);
        within("the load's end", async { while self.clients.join_next().await.is_some() {} }).await;
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

/// Fails with the first few failures, if there are any.
pub(crate) fn assert_no_failures(samples: &[Sample]) {
    let failed: Vec<_> = samples.iter().filter(|sample| sample.result.is_err()).collect();
    let some: Vec<_> = failed.iter().take(5).map(|sample| (sample.kind, &sample.result)).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {some:#?}", failed.len(), samples.len());
}

/// P1: a request that started after a switch call had returned was answered by the slot of that call, or by one that a
/// later call named before the request ended.
pub(crate) fn assert_none_stale(first: &str, switches: &[Switch], samples: &[Sample]) {
    for sample in samples {
        let Ok(colour) = &sample.result else { continue };
        let known = switches.partition_point(|switch| switch.returned <= sample.started);
        let settled = known.checked_sub(1).map_or(first, |last| switches[last].to.as_str());
        let later = switches[known..].iter().take_while(|switch| switch.called <= sample.ended);
        let allowed = std::iter::once(settled).chain(later.map(|switch| switch.to.as_str()));
        assert!(
            allowed.into_iter().any(|one| one == colour),
            "stale: {:?} was answered by {colour} after a switch to {settled} had returned (switch {known})",
            sample.kind
        );
    }
}

async fn client(
    kind: Kind,
    seed: usize,
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    done: Arc<AtomicU64>,
) {
    let mut caller = Caller::open(kind, addr).await;
    let mut round = seed * 977;
    while !stop.load(SeqCst) {
        round += 1;
        let started = Instant::now();
        let call = tokio::time::timeout(Duration::from_secs(10), caller.call(kind, round, addr));
        let result = call.await.unwrap_or_else(|_late| Err("no end after 10 s".to_owned()));
        if result.is_err() {
            caller = Caller::open(kind, addr).await;
            // A proxy that fails everything must not fill the memory with failures.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        samples.lock().unwrap().push(Sample { kind, started, ended: Instant::now(), result });
        done.fetch_add(1, SeqCst);
    }
}

/// A client's one connection.
enum Caller {
    Http(Conn),
    Grpc(Channel),
    /// A WebSocket uses up its connection.
    None,
}

impl Caller {
    async fn open(kind: Kind, addr: SocketAddr) -> Self {
        match kind {
            Kind::Get | Kind::Post | Kind::Sse => Caller::Http(Conn::open(addr).await),
            Kind::GrpcUnary | Kind::GrpcBidi => Caller::Grpc(Channel::open(addr).await),
            Kind::WebSocket => Caller::None,
        }
    }

    async fn call(&mut self, kind: Kind, round: usize, addr: SocketAddr) -> Outcome {
        match (kind, self) {
            (Kind::Get, Caller::Http(conn)) => unary(conn, "GET", &get("/v2/models/iris"), 0).await,
            (Kind::Post, Caller::Http(conn)) => {
                let body = vec![b'x'; round * 131 % 9000];
                unary(conn, "POST", &infer("", &body), body.len()).await
            }
            (Kind::Sse, Caller::Http(conn)) => sse(conn).await,
            (Kind::GrpcUnary, Caller::Grpc(channel)) => grpc_unary(channel).await,
            (Kind::GrpcBidi, Caller::Grpc(channel)) => grpc_bidi(channel).await,
            (_, _) => websocket(addr).await,
        }
    }
}

/// The colour in the body must be the one that the proxy names in its header.
fn agree(claimed: Option<String>, colour: &str) -> Outcome {
    match claimed {
        Some(slot) if slot == colour => Ok(slot),
        other => Err(format!("mixed: x-verdigris-slot {other:?} on an answer of {colour}")),
    }
}

async fn unary(conn: &mut Conn, method: &str, request: &[u8], body_len: usize) -> Outcome {
    conn.wire.send(request).await.map_err(|bad| format!("send: {bad}"))?;
    let head = conn.try_head(method).await.map_err(|bad| format!("head: {bad}"))?;
    if head.says_close() {
        return Err("the answer says connection: close".to_owned());
    }
    let answer: Answer = conn.try_rest(head).await.map_err(|bad| format!("body: {bad}"))?;
    if answer.status != 200 {
        return Err(format!("status {} {:?}: {}", answer.status, answer.error(), answer.text()));
    }
    let json = answer.json();
    if json["body_len"] != body_len {
        return Err(format!("the server got {} of {body_len} bytes", json["body_len"]));
    }
    agree(answer.field("x-verdigris-slot"), json["colour"].as_str().unwrap_or_default())
}

async fn sse(conn: &mut Conn) -> Outcome {
    const TOKENS: usize = 8;
    let request = get(&format!("/v2/models/iris/generate?do=sse&n={TOKENS}&every=4"));
    conn.wire.send(&request).await.map_err(|bad| format!("send: {bad}"))?;
    let head = conn.try_head("GET").await.map_err(|bad| format!("head: {bad}"))?;
    if head.says_close() || head.status != 200 {
        return Err(format!("status {} {:?}", head.status, head.field("connection")));
    }
    let mut events = Vec::new();
    while let Some(event) = conn.try_event().await.map_err(|bad| format!("token {}: {bad}", events.len()))? {
        events.push(event);
    }
    let colour = head.field("x-colour").unwrap_or_default();
    let wanted = (0..TOKENS).map(|index| format!("{{\"i\":{index},\"colour\":\"{colour}\"}}"));
    if !events.iter().cloned().eq(wanted.chain(["[DONE]".to_owned()])) {
        return Err(format!("not whole or mixed ({colour}): {events:?}"));
    }
    agree(head.field("x-verdigris-slot"), &colour)
}

async fn websocket(addr: SocketAddr) -> Outcome {
    let mut socket = WebSocket::try_open(addr).await.map_err(|bad| format!("handshake: {bad}"))?;
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.try_echo(&format!("frame {round}")).await.map_err(|bad| format!("frame {round}: {bad}"))?;
    }
    agree(socket.head.field("x-verdigris-slot"), &socket.head.field("x-colour").unwrap_or_default())
}

async fn grpc_unary(channel: &Channel) -> Outcome {
    let reply = channel.try_call("Unary", &["hello"]).await.map_err(|bad| format!("call: {bad}"))?;
    if reply.grpc_status().as_deref() != Some("0") {
        return Err(format!("{reply:?}"));
    }
    let colour = reply.header("x-colour").unwrap_or_default();
    if reply.messages != [format!("{colour}:hello")] {
        return Err(format!("mixed ({colour}): {:?}", reply.messages));
    }
    agree(reply.header("x-verdigris-slot"), &colour)
}

async fn grpc_bidi(channel: &Channel) -> Outcome {
    let mut call = channel.try_start("Bidi").await.map_err(|bad| format!("start: {bad}"))?;
    let mut colour = String::new();
    for round in 0..5 {
        call.try_say(&round.to_string()).await.map_err(|bad| format!("message {round}: {bad}"))?;
        let back = call.try_next().await.map_err(|bad| format!("echo {round}: {bad}"))?;
        if round == 0 {
            colour = text(call.head.as_ref().unwrap().headers(), "x-colour").unwrap_or_default();
        }
        if back != Some(format!("{colour}:{round}")) {
            return Err(format!("mixed ({colour}): {back:?}"));
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    call.half_close();
    let reply = call.try_finish().await.map_err(|bad| format!("end: {bad}"))?;
    if reply.grpc_status().as_deref() != Some("0") || !reply.messages.is_empty() {
        return Err(format!("{reply:?}"));
    }
    agree(reply.header("x-verdigris-slot"), &colour)
}
