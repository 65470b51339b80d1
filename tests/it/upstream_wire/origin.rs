//! A server that is nothing but a script, on a raw socket.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use super::until_true;
use crate::support::wire::{Framing, Wire, framing, parse_head, value};

/// One step after the head of a request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// Reads so many bytes of what follows the head.
    Read(usize),
    /// Waits until the test says `go`.
    Gate,
    /// Tells the test that the steps before have been done.
    Mark,
    /// Writes zeros until the peer takes no more or has gone.
    Flood,
    /// Ends the sending direction, then reads to the peer's end.
    Fin,
    /// Ends the sending direction and goes on reading with the next steps.
    HalfClose,
    Rst,
    /// Closes without reading what may still come; unread bytes make it a reset.
    Close,
    /// Reads to the peer's end.
    Drain,
    /// Sends back what comes, to the peer's end; then ends its own direction.
    Echo,
}

/// How a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By this side.
    Own,
    /// By the peer, with a FIN.
    Fin,
    /// By the peer, with a reset.
    Rst,
}

/// A request head as it came.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) connection: u64,
    /// Its number on that connection, from 0.
    pub(super) index: u64,
    pub(super) path: String,
    pub(super) head: String,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, VecDeque<Vec<Step>>>,
    taken: Vec<Taken>,
    /// Bytes after the heads, by connection.
    bodies: HashMap<u64, Vec<u8>>,
    ends: HashMap<u64, End>,
    connections: u64,
}

struct Shared {
    state: Mutex<State>,
    gate: Semaphore,
    /// Bytes written by `Flood`.
    flooded: AtomicU64,
    paths: AtomicU64,
    marks: AtomicU64,
}

/// The running script; dropping it closes everything.
pub(super) struct Scripted {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            gate: Semaphore::new(0),
            flooded: AtomicU64::new(0),
            paths: AtomicU64::new(0),
            marks: AtomicU64::new(0),
        });
        let state = shared.clone();
        let accept = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(Wire::new(stream), state.clone()));
            }
        });
        Self { addr, shared, accept }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A path that no other case uses.
    pub(super) fn path(&self) -> String {
        format!("/case/{}", self.shared.paths.fetch_add(1, SeqCst))
    }

    /// What the next request for this path is met with.
    pub(super) fn script(&self, path: &str, steps: Vec<Step>) {
        self.shared.state.lock().unwrap().scripts.entry(path.to_owned()).or_default().push_back(steps);
    }

    /// Lets one `Gate` pass.
    pub(super) fn go(&self) {
        self.shared.gate.add_permits(1);
    }

    /// Lets one `Gate` pass and waits until this connection reaches a `Mark` or its end.
    pub(super) async fn deed(&self, connection: u64) {
        let before = self.shared.marks.load(SeqCst);
        self.go();
        until_true("a deed of the origin", || self.shared.marks.load(SeqCst) > before || self.has_ended(connection))
            .await;
    }

    /// Waits until so many bytes came after the heads on the connection of the path's last request.
    pub(super) async fn until_body(&self, path: &str, bytes: usize) {
        self.until_taken(path, 1).await;
        until_true("a body at the origin", || self.body(self.last(path).connection).len() >= bytes).await;
    }

    /// Every request for the path, oldest first.
    pub(super) fn taken(&self, path: &str) -> Vec<Taken> {
        self.shared.state.lock().unwrap().taken.iter().filter(|taken| taken.path == path).cloned().collect()
    }

    pub(super) fn attempts(&self, path: &str) -> usize {
        self.taken(path).len()
    }

    pub(super) fn last(&self, path: &str) -> Taken {
        self.taken(path).pop().unwrap_or_else(|| panic!("nothing was asked for {path}"))
    }

    /// Waits for so many requests for the path.
    pub(super) async fn until_taken(&self, path: &str, count: usize) {
        until_true("a request at the origin", || self.attempts(path) >= count).await;
    }

    /// Waits for a connection's end and says whose it was.
    pub(super) async fn ended(&self, connection: u64) -> End {
        let end = || self.shared.state.lock().unwrap().ends.get(&connection).copied();
        until_true("a connection's end at the origin", || end().is_some()).await;
        end().unwrap()
    }

    pub(super) fn has_ended(&self, connection: u64) -> bool {
        self.shared.state.lock().unwrap().ends.contains_key(&connection)
    }

    /// What came after the heads on a connection.
    pub(super) fn body(&self, connection: u64) -> Vec<u8> {
        self.shared.state.lock().unwrap().bodies.get(&connection).cloned().unwrap_or_default()
    }

    pub(super) fn flooded(&self) -> u64 {
        self.shared.flooded.load(SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// One connection to its end.
async fn serve(mut wire: Wire, shared: Arc<Shared>) {
    let mut connection = None;
    let mut index = 0;
    let end = loop {
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => break Some(End::Fin),
            Err(_) => break Some(End::Rst),
        };
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == "/v2/health/ready" {
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok();
            return;
        }
        let number = *connection.get_or_insert_with(|| shared.number());
        let script = shared.take(Taken { connection: number, index, path, head: text.clone() });
        index += 1;
        let ended = match script {
            Some(steps) => play(&mut wire, steps, number, &shared).await,
            None => plain(&mut wire, &head, number, &shared).await,
        };
        if ended.is_some() {
            break ended;
        }
    };
    drop(wire);
    if let (Some(number), Some(end)) = (connection, end) {
        shared.state.lock().unwrap().ends.insert(number, end);
    }
}

impl Shared {
    fn number(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.connections += 1;
        state.connections
    }

    fn take(&self, taken: Taken) -> Option<Vec<Step>> {
        let mut state = self.state.lock().unwrap();
        let script = state.scripts.get_mut(&taken.path).and_then(VecDeque::pop_front);
        state.taken.push(taken);
        script
    }

    fn keep(&self, connection: u64, bytes: &[u8]) {
        self.state.lock().unwrap().bodies.entry(connection).or_default().extend_from_slice(bytes);
    }
}

/// Reads the body and says which connection this is.
async fn plain(wire: &mut Wire, head: &[u8], number: u64, shared: &Shared) -> Option<End> {
    let (_, fields) = parse_head(head).ok()?;
    let body = match framing(&fields, Framing::None).ok()? {
        Framing::Length(length) => wire.exactly(usize::try_from(length).unwrap(), "a body").await.ok().map(Vec::from),
        Framing::Chunked => chunks(wire).await,
        Framing::None | Framing::UntilClose => Some(Vec::new()),
    };
    let Some(body) = body else { return Some(End::Rst) };
    shared.keep(number, &body);
    let text = format!("plain {}", value(&fields, "x-say").unwrap_or_default());
    let head = format!("HTTP/1.1 200 OK\r\nx-connection: {number}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    wire.send(head.as_bytes()).await.err().map(|_| End::Rst)
}

async fn chunks(wire: &mut Wire) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let part = wire.chunk().await.ok()?;
        if part.is_empty() {
            wire.trailers().await.ok()?;
            return Some(body);
        }
        body.extend_from_slice(&part);
    }
}

/// Plays the steps; `None` if the connection goes on.
async fn play(wire: &mut Wire, steps: Vec<Step>, number: u64, shared: &Shared) -> Option<End> {
    for step in steps {
        match step {
            Step::Send(bytes) => drop(wire.send(&bytes).await),
            Step::Read(count) => match wire.exactly(count, "a script").await {
                Ok(bytes) => shared.keep(number, &bytes),
                Err(_) => return Some(drain(wire, number, shared).await),
            },
            Step::Gate => shared.gate.acquire().await.ok()?.forget(),
            Step::Mark => drop(shared.marks.fetch_add(1, SeqCst)),
            Step::Flood => flood(wire, shared).await,
            Step::Fin => {
                wire.stream.shutdown().await.ok();
                drain(wire, number, shared).await;
                return Some(End::Own);
            }
            Step::HalfClose => drop(wire.stream.shutdown().await),
            Step::Rst => {
                socket2::SockRef::from(&wire.stream).set_linger(Some(std::time::Duration::ZERO)).ok();
                return Some(End::Own);
            }
            Step::Close => return Some(End::Own),
            Step::Drain => return Some(drain(wire, number, shared).await),
            Step::Echo => return Some(echo(wire, number, shared).await),
        }
    }
    None
}

async fn drain(wire: &mut Wire, number: u64, shared: &Shared) -> End {
    loop {
        shared.keep(number, &wire.buffer.split());
        match wire.fill().await {
            Ok(0) => return End::Fin,
            Ok(_) => {}
            Err(_) => return End::Rst,
        }
    }
}

async fn echo(wire: &mut Wire, number: u64, shared: &Shared) -> End {
    loop {
        let bytes = wire.buffer.split();
        shared.keep(number, &bytes);
        if wire.send(&bytes).await.is_err() {
            return End::Rst;
        }
        match wire.fill().await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return End::Rst,
        }
    }
    wire.stream.shutdown().await.ok();
    End::Fin
}

async fn flood(wire: &mut Wire, shared: &Shared) {
    let zeros = vec![b'0'; 64 * 1024];
    while let Ok(written) = write_some(&mut wire.stream, &zeros).await {
        shared.flooded.fetch_add(written as u64, SeqCst);
    }
}

async fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    match stream.write(bytes).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}
