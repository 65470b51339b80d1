//! A raw HTTP/1.1 client: sends exactly the bytes it is given, and tells a clean end from a cut.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::{
    wait::within,
    wire::{Fields, Framing, Wire, find, framing, malformed, parse_head, value, values},
};

/// A client connection.
pub(crate) struct Conn {
    pub(crate) wire: Wire,
    /// Event bytes whose event is not complete; a proxy may cut chunks anew.
    events: BytesMut,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    /// As received.
    pub(crate) bytes: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        value(&self.fields, name)
    }

    pub(crate) fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|text| text.to_ascii_lowercase().contains("close"))
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        value(&self.fields, name)
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|bad| panic!("{bad}: {}", self.text()))
    }

    /// The colour of the server that answered, as it says itself.
    pub(crate) fn colour(&self) -> String {
        self.json()["colour"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("no colour: {self:?}"))
    }

    /// The kind of an answer that the proxy made itself.
    pub(crate) fn error(&self) -> Option<String> {
        self.field("x-verdigris-error")
    }
}

/// The bytes of a GET.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: iris.test\r\n\r\n").into_bytes()
}

/// The bytes of a request with a body and more fields, each of them ending in CRLF.
pub(crate) fn request(method: &str, target: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: iris.test\r\n{fields}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The bytes of an inference call.
pub(crate) fn infer(query: &str, body: &[u8]) -> Vec<u8> {
    request("POST", &format!("/v2/models/iris/infer{query}"), "content-type: application/json\r\n", body)
}

impl Conn {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let wire = within("a connection", Wire::connect(addr)).await;
        Self { wire: wire.unwrap_or_else(|bad| panic!("connect to {addr}: {bad}")), events: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes).await.unwrap_or_else(|bad| panic!("send: {bad}"));
    }

    /// The head of the next final answer; interim ones are passed over, except 101.
    pub(crate) async fn try_head(&mut self, method: &str) -> io::Result<Head> {
        loop {
            let Some(bytes) = self.wire.head().await? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
            };
            let head = parse_answer(bytes, method)?;
            if head.status >= 200 || head.status == 101 {
                return Ok(head);
            }
        }
    }

    pub(crate) async fn head(&mut self) -> Head {
        within("the head of an answer", self.try_head("GET")).await.unwrap_or_else(|bad| panic!("head: {bad}"))
    }

    /// What follows the head, to its end; an error is a cut.
    pub(crate) async fn try_rest(&mut self, head: Head) -> io::Result<Answer> {
        let mut answer = Answer { status: head.status, fields: head.fields, body: Vec::new(), trailers: Fields::new() };
        match head.framing {
            Framing::None => {}
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap();
                answer.body = self.wire.exactly(length, "a body with a length").await?.to_vec();
            }
            Framing::Chunked => {
                loop {
                    let part = self.wire.chunk().await?;
                    if part.is_empty() {
                        break;
                    }
                    answer.body.extend_from_slice(&part);
                }
                answer.trailers = self.wire.trailers().await?;
            }
            Framing::UntilClose => {
                while self.wire.fill().await? > 0 {}
                answer.body = self.wire.buffer.split().to_vec();
            }
        }
        Ok(answer)
    }

    pub(crate) async fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let head = self.try_head(method).await?;
        self.try_rest(head).await
    }

    pub(crate) async fn rest(&mut self, head: Head) -> Answer {
        within("the rest of an answer", self.try_rest(head)).await.unwrap_or_else(|bad| panic!("rest: {bad}"))
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        self.rest(head).await
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Answer {
        let method = String::from_utf8_lossy(request.split(|byte| *byte == b' ').next().unwrap()).into_owned();
        self.send(request).await;
        within("an answer", self.try_answer(&method)).await.unwrap_or_else(|bad| panic!("answer: {bad}"))
    }

    /// The next server-sent event's data; `None` at the clean end of the stream.
    pub(crate) async fn try_event(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(&self.events, b"\n\n") {
                let event = self.events.split_to(end + 2);
                let text = String::from_utf8_lossy(&event).trim_end().to_owned();
                let data = text.strip_prefix("data: ").map(str::to_owned);
                return data.map(Some).ok_or_else(|| malformed(format!("event {text:?}")));
            }
            let part = self.wire.chunk().await?;
            if part.is_empty() {
                self.wire.trailers().await?;
                return if self.events.is_empty() { Ok(None) } else { Err(malformed("half an event".into())) };
            }
            self.events.extend_from_slice(&part);
        }
    }

    pub(crate) async fn event(&mut self) -> Option<String> {
        within("an event", self.try_event()).await.unwrap_or_else(|bad| panic!("event: {bad}"))
    }

    /// True once the peer has closed, having sent nothing more; a reset counts as closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        within("the peer's close", async {
            match self.wire.fill().await {
                Ok(0) | Err(_) => self.wire.buffer.is_empty(),
                Ok(_) => false,
            }
        })
        .await
    }

    /// True if another request on the same connection is answered.
    pub(crate) async fn still_serves(&mut self) -> bool {
        self.wire.send(&get("/still-there")).await.is_ok() && self.try_answer("GET").await.is_ok()
    }
}

fn parse_answer(bytes: Bytes, method: &str) -> io::Result<Head> {
    let (line, fields) = parse_head(&bytes)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed(format!("status line {line:?}")))?;
    let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
    let framing = if bodiless { Framing::None } else { framing(&fields, Framing::UntilClose)? };
    Ok(Head { status, fields, framing, bytes })
}

/// One request on a connection of its own.
pub(crate) async fn once(addr: SocketAddr, request: &[u8]) -> Answer {
    Conn::open(addr).await.call(request).await
}
