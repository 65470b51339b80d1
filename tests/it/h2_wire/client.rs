//! A client that sends whatever bytes it likes, and says how each stream ended.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::net::TcpStream;

use super::frame::*;
use crate::support::wait::within;

/// Longer than anything a healthy proxy takes to answer, shorter than a test's patience.
const SILENCE: Duration = Duration::from_secs(4);

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// END_STREAM after a head with this status.
    Answer(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code and then, or without any, the end of the connection.
    GoAway(u32),
    Closed,
    /// Nothing for a long time.
    Silence,
}

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) head: List,
    /// Interim answers, by status.
    pub(crate) interim: Vec<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: List,
    pub(crate) end: Option<End>,
}

impl Seen {
    pub(crate) fn status(&self) -> u16 {
        field(&self.head, ":status").map_or(0, |status| status.parse().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The gRPC status, from wherever it stands.
    pub(crate) fn grpc_status(&self) -> Option<&str> {
        field(&self.trailers, "grpc-status").or_else(|| field(&self.head, "grpc-status"))
    }
}

/// A client connection.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) streams: BTreeMap<u32, Seen>,
    /// The server's settings.
    pub(crate) settings: BTreeMap<u16, u32>,
    pub(crate) pongs: usize,
    pub(crate) goaway: Option<u32>,
    pub(crate) closed: bool,
    /// Gives back the windows that answers use.
    pub(crate) reads: bool,
}

impl Client {
    /// Connects and says nothing.
    pub(crate) async fn silent(addr: SocketAddr) -> Self {
        let socket = within("a connection", TcpStream::connect(addr)).await.unwrap();
        Self {
            link: Link::new(socket),
            streams: BTreeMap::new(),
            settings: BTreeMap::new(),
            pongs: 0,
            goaway: None,
            closed: false,
            reads: true,
        }
    }

    /// Connects with a preface and these settings.
    pub(crate) async fn open_with(addr: SocketAddr, list: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(addr).await;
        client.send(&[PREFACE, &settings(list)].concat()).await;
        client
    }

    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::open_with(addr, &[]).await
    }

    /// Sends; the proxy may close meanwhile, which the next read shows.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A peer that has closed, or that reads no more, shows in what is read next.
        let _ = tokio::time::timeout(SILENCE, self.link.send(bytes)).await;
    }

    /// Takes in one frame; false once the connection has ended.
    pub(crate) async fn step(&mut self) -> bool {
        if self.closed {
            return false;
        }
        let Ok(frame) = self.link.frame().await else {
            self.closed = true;
            return false;
        };
        self.take(frame).await;
        !self.closed
    }

    async fn take(&mut self, frame: Frame) {
        match frame.kind {
            SETTINGS if !frame.has(ACK) => {
                for pair in frame.payload.chunks(6) {
                    let id = u16::from_be_bytes([pair[0], pair[1]]);
                    self.settings.insert(id, u32::from_be_bytes(pair[2..].try_into().unwrap()));
                }
                self.send(&super::frame::frame(SETTINGS, ACK, 0, &[])).await;
            }
            PING if frame.has(ACK) => self.pongs += 1,
            PING => self.send(&super::frame::frame(PING, ACK, 0, &frame.payload)).await,
            GOAWAY => self.goaway = Some(frame.number(4)),
            RST_STREAM => {
                let seen = self.streams.entry(frame.stream).or_default();
                // A reset after the end says that the rest of the request is not wanted.
                seen.end.get_or_insert(End::Reset(frame.number(0)));
            }
            HEADERS => match self.link.fields(&frame).await {
                Ok(list) => self.head(&frame, list),
                Err(_) => self.closed = true,
            },
            DATA => self.body(&frame).await,
            _ => {}
        }
    }

    fn head(&mut self, frame: &Frame, list: List) {
        let seen = self.streams.entry(frame.stream).or_default();
        let status = field(&list, ":status").map(|status| status.parse::<u16>().unwrap());
        match status {
            Some(interim @ 100..200) => seen.interim.push(interim),
            Some(_) => seen.head = list,
            None => seen.trailers = list,
        }
        self.note_end(frame);
    }

    async fn body(&mut self, frame: &Frame) {
        let used = u32::try_from(frame.payload.len()).unwrap();
        if self.reads && used > 0 {
            self.send(&[window(0, used), window(frame.stream, used)].concat()).await;
        }
        self.streams.entry(frame.stream).or_default().body.extend_from_slice(&frame.payload);
        self.note_end(frame);
    }

    fn note_end(&mut self, frame: &Frame) {
        if frame.has(END_STREAM) {
            let seen = self.streams.entry(frame.stream).or_default();
            seen.end = Some(End::Answer(seen.status()));
        }
    }

    /// Everything of this stream up to its end, or to the connection's.
    pub(crate) async fn until_end(&mut self, stream: u32) -> Seen {
        let reading = async { while self.seen(stream).end.is_none() && self.step().await {} };
        let silent = tokio::time::timeout(SILENCE, reading).await.is_err();
        let mut seen = self.seen(stream);
        let connection = self.goaway.map_or(End::Closed, End::GoAway);
        seen.end.get_or_insert(if silent { End::Silence } else { connection });
        seen
    }

    /// How this stream ended.
    pub(crate) async fn end(&mut self, stream: u32) -> End {
        self.until_end(stream).await.end.unwrap_or(End::Silence)
    }

    pub(crate) fn seen(&self, stream: u32) -> Seen {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Reads until this is true of the connection, or it has ended.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        within(what, async { while !done(self) && self.step().await {} }).await;
    }

    /// Reads until the connection has ended.
    pub(crate) async fn until_closed(&mut self) {
        self.until("the connection's end", |client| client.closed).await;
    }

    /// The status of a GET on this stream.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) -> Seen {
        self.send(&get(stream, path)).await;
        self.until_end(stream).await
    }

    /// True if a request on a new stream is answered.
    pub(crate) async fn still_serves(&mut self, stream: u32) -> bool {
        self.get(stream, "/still-there").await.end == Some(End::Answer(200))
    }
}
