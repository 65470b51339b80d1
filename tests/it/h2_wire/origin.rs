//! A model server over HTTP/2 that does with each stream, frame by frame, what the test says.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
};

use super::frame::*;

/// What the server does when a stream's request has come whole; it gets the connection's number, the stream and how
/// many requests came before this one in all.
pub(crate) type Script = dyn Fn(&Asked) -> Reaction + Send + Sync;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) connection: usize,
    pub(crate) stream: u32,
    /// How many came before.
    pub(crate) before: usize,
    pub(crate) head: List,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: List,
}

/// What is written, and whether the connection ends then.
#[derive(Debug, Default)]
pub(crate) struct Reaction {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closes: bool,
}

impl From<Vec<u8>> for Reaction {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, closes: false }
    }
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) asked: Vec<Asked>,
    pub(crate) connections: usize,
    /// Streams that the proxy reset, with the code.
    pub(crate) resets: Vec<(u32, u32)>,
    /// The most streams that were open at a time.
    pub(crate) most_open: usize,
}

/// A running origin; dropping it ends every connection.
pub(crate) struct H2Origin {
    pub(crate) addr: SocketAddr,
    log: Arc<Mutex<Log>>,
    accept: JoinHandle<()>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl H2Origin {
    /// Announces these settings, and answers by the script when a request's END_STREAM has come.
    pub(crate) async fn start(
        list: &[(u16, u32)],
        script: impl Fn(&Asked) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (log, open): (Arc<Mutex<Log>>, Arc<Mutex<Vec<AbortHandle>>>) = (Arc::default(), Arc::default());
        let (script, list): (Arc<Script>, _) = (Arc::new(script), list.to_vec());
        let (seen, running) = (log.clone(), open.clone());
        let accept = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (log, script, list) = (seen.clone(), script.clone(), list.clone());
                let task = tokio::spawn(async move {
                    // The end of a connection, however it came, is what the test looks at from the other side.
                    let _ = serve(socket, &list, &log, &*script).await;
                });
                running.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
            }
        });
        Self { addr, log, accept, open }
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.addr)
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Log) -> T) -> T {
        at(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn asked(&self) -> usize {
        self.look(|log| log.asked.len())
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.accept.abort();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }
}

async fn serve(mut socket: TcpStream, list: &[(u16, u32)], log: &Mutex<Log>, script: &Script) -> std::io::Result<()> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await?;
    assert_eq!(preface, PREFACE);
    let note = || log.lock().unwrap_or_else(PoisonError::into_inner);
    let connection = {
        let mut log = note();
        log.connections += 1;
        log.connections
    };
    let mut link = Link::new(socket);
    link.send(&settings(list)).await?;
    let mut partial: BTreeMap<u32, Asked> = BTreeMap::new();
    let mut open = HashSet::new();
    loop {
        let frame = link.frame().await?;
        match frame.kind {
            SETTINGS if !frame.has(ACK) => link.send(&super::frame::frame(SETTINGS, ACK, 0, &[])).await?,
            PING if !frame.has(ACK) => link.send(&super::frame::frame(PING, ACK, 0, &frame.payload)).await?,
            RST_STREAM => {
                open.remove(&frame.stream);
                note().resets.push((frame.stream, frame.number(0)));
            }
            HEADERS => {
                let fields = link.fields(&frame).await?;
                let before = note().asked.len();
                let new = Asked {
                    connection,
                    stream: frame.stream,
                    before,
                    head: List::new(),
                    body: Vec::new(),
                    trailers: List::new(),
                };
                let asked = partial.entry(frame.stream).or_insert(new);
                if asked.head.is_empty() {
                    asked.head = fields;
                    open.insert(frame.stream);
                    let mut log = note();
                    log.most_open = log.most_open.max(open.len());
                } else {
                    asked.trailers = fields;
                }
            }
            DATA => {
                if let Some(asked) = partial.get_mut(&frame.stream) {
                    asked.body.extend_from_slice(&frame.payload);
                }
                if !frame.payload.is_empty() {
                    let used = u32::try_from(frame.payload.len()).unwrap();
                    link.send(&[window(0, used), window(frame.stream, used)].concat()).await?;
                }
            }
            _ => {}
        }
        let ended = matches!(frame.kind, HEADERS | DATA) && frame.has(END_STREAM);
        let Some(mut asked) = ended.then(|| partial.remove(&frame.stream)).flatten() else { continue };
        if field(&asked.head, ":path") != Some("/v2/health/ready") {
            asked.before = note().asked.len();
            note().asked.push(asked.clone());
        }
        let reaction = react(script, &asked);
        open.remove(&frame.stream);
        link.send(&reaction.bytes).await?;
        if reaction.closes {
            return Ok(());
        }
    }
}

fn react(script: &Script, asked: &Asked) -> Reaction {
    if field(&asked.head, ":path") == Some("/v2/health/ready") {
        return headers(asked.stream, END_STREAM, &block(&[(":status", "200")])).into();
    }
    script(asked)
}

/// A whole answer.
pub(crate) fn answer(stream: u32, text: &str) -> Vec<u8> {
    [head(stream), data(stream, END_STREAM, text.as_bytes())].concat()
}

/// The head of an answer.
pub(crate) fn head(stream: u32) -> Vec<u8> {
    headers(stream, 0, &block(&[(":status", "200"), ("content-type", "text/plain")]))
}
