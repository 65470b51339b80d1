//! What the fake model server does with one request, as the request's query says.
//!
//! | `do=` | behaviour |
//! |---|---|
//! | (none) | reads the body, echoes what came as JSON; `ms=` delays, `code=` sets the status, `then=close` closes silently after it |
//! | `sse` | `n=` tokens, `every=` ms apart, chunked, then `[DONE]` |
//! | `steps` | `n=` tokens, each when the test gives a permit |
//! | `held` | the echo, when the test gives a permit |
//! | `infer` | a tensor of one score, which is another if the colour is `pink`: a model that is wrong |
//! | `hang` | reads the request and never answers |
//! | `trailers` | a chunked answer with trailers |
//! | `die` | breaks off after half of the body: `how=fin` or `rst`, `frame=length` or `chunked` |
//! | `close` | reads the request and closes without a byte |
//! | `reset` | the same with a reset |
//! | `raw` | the bytes in `hex=`, then closes (`then=keep`: keeps the connection) |
//! | `early` | `code=` at once, while the body is still on its way, then reads the rest and closes |
//! | `final` | `code=` at once, without asking for a body that the client holds back |
//! | `unasked` | the echo, without saying that it waits for the body |
//! | `expect-close` | closes instead of asking for the body |
//! | `unread-raw` | the bytes in `hex=` before the body is read, then the echo |
//! | `deaf` | reads the head and then nothing |
//! | `big` | `bytes=` of body, as fast as they are taken |
//! | `upgrade` | 101, then a raw echo; `greet=1` sends `hello` together with the 101 |

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{
    origin::{Ready, Recorded, Shared, Trouble},
    wire::{Fields, Framing, Wire, framing, parse_head, value},
};

const BODY_KEPT: usize = 1 << 20;

/// One request and the means to answer it.
struct Exchange<'a> {
    wire: Wire,
    shared: &'a Arc<Shared>,
    method: String,
    target: String,
    fields: Fields,
    query: HashMap<String, String>,
    connection: u64,
    record: Option<usize>,
    body: Vec<u8>,
    body_len: u64,
    soak_id: Option<String>,
}

/// Answers one request; gives the connection back if it may serve another.
pub(crate) async fn answer(wire: Wire, head: &Bytes, connection: u64, shared: &Arc<Shared>) -> Option<Wire> {
    let (line, fields) = parse_head(head).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let query = parse_query(&target);
    let mut exchange = Exchange {
        wire,
        shared,
        method,
        target,
        fields,
        query,
        connection,
        record: None,
        body: Vec::new(),
        body_len: 0,
        soak_id: None,
    };
    if exchange.target.starts_with("/v2/health/ready") {
        return exchange.probe().await.ok().flatten();
    }
    let hangs = matches!(*shared.trouble.lock(), Some(Trouble::Hang));
    if exchange.asks_for_models() && !hangs {
        return exchange.describe().await.ok();
    }
    shared.hits.fetch_add(1, SeqCst);
    exchange.remember(head);
    exchange.soak_id = value(&exchange.fields, "x-soak-id");
    let id = exchange.soak_id.clone();
    shared.note('R', id.as_ref());
    let kept = exchange.run().await.ok()?;
    shared.note('A', id.as_ref());
    kept
}

fn parse_query(target: &str) -> HashMap<String, String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Exchange<'_> {
    async fn run(mut self) -> io::Result<Option<Wire>> {
        if let Some(delay) = self.shared.coldness(self.is_of_a_gate()) {
            tokio::time::sleep(delay).await;
        }
        let trouble = *self.shared.trouble.lock();
        match trouble {
            Some(Trouble::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(trouble) => return self.fail(trouble).await,
            None => {}
        }
        let what = self.query.get("do").cloned().unwrap_or_default();
        match what.as_str() {
            "early" => return self.early().await,
            "deaf" => return self.deaf().await,
            "final" => return self.answer_unasked().await,
            "expect-close" => return Ok(None),
            "unread-raw" => {
                let bytes = self.hex();
                self.wire.send(&bytes).await?;
                self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("expect"));
                self.read_body().await?;
            }
            "unasked" => {
                self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("expect"));
                self.read_body().await?;
            }
            "upgrade" => return self.upgrade().await,
            _ => self.read_body().await?,
        }
        match what.as_str() {
            "sse" | "steps" => self.tokens(what == "steps").await,
            "held" => {
                self.permit().await?;
                self.echo().await
            }
            "infer" => self.infer().await,
            "hang" => self.gone_before(std::future::pending::<()>()).await.map(|()| None),
            "trailers" => self.trailers().await,
            "die" => self.die().await,
            "close" => Ok(None),
            "reset" => {
                self.wire.reset();
                Ok(None)
            }
            "raw" => self.raw().await,
            "big" => self.big().await,
            _ => self.echo().await,
        }
    }

    async fn fail(mut self, trouble: Trouble) -> io::Result<Option<Wire>> {
        self.read_body().await?;
        match trouble {
            Trouble::Status(code) => {
                let head = self.head(u64::from(code), "text/plain");
                self.wire.send(format!("{head}content-length: 8\r\n\r\nnot well").as_bytes()).await?;
                Ok(Some(self.wire))
            }
            Trouble::Close => Ok(None),
            Trouble::Hang | Trouble::Slow(_) => self.gone_before(std::future::pending::<()>()).await.map(|()| None),
        }
    }

    /// A gate's question, which is no request of a client.
    fn asks_for_models(&self) -> bool {
        let page = self.target == "/v1/models" || self.target.matches('/').count() == 3;
        self.is_of_a_gate() && page && self.method == "GET"
    }

    fn is_of_a_gate(&self) -> bool {
        value(&self.fields, "user-agent").is_some_and(|agent| agent == "verdigris-gate")
    }

    async fn describe(mut self) -> io::Result<Wire> {
        let description = self.shared.description.lock().clone();
        let (code, body) = description.map_or((404, String::new()), |said| (200, said.to_string()));
        let head = format!("{}content-length: {}\r\n\r\n{body}", self.head(code, "application/json"), body.len());
        self.wire.send(head.as_bytes()).await?;
        Ok(self.wire)
    }

    fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.query.get(name).map_or(otherwise, |text| text.parse().unwrap())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.query.get(name).is_some_and(|text| text == value)
    }

    fn remember(&mut self, head: &Bytes) {
        if !self.shared.recording.load(SeqCst) {
            return;
        }
        let mut log = self.shared.log.lock();
        self.record = Some(log.len());
        log.push(Recorded {
            connection: self.connection,
            method: self.method.clone(),
            target: self.target.clone(),
            fields: self.fields.clone(),
            head: head.to_vec(),
            body: Vec::new(),
            trailers: Fields::new(),
            complete: false,
        });
    }

    async fn read_body(&mut self) -> io::Result<()> {
        let framing = framing(&self.fields, Framing::None)?;
        if value(&self.fields, "expect").is_some_and(|text| text.eq_ignore_ascii_case("100-continue")) {
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut trailers = Fields::new();
        match framing {
            Framing::Length(mut left) => {
                while left > 0 {
                    let part = self.wire.some(left, "a request body").await?;
                    left -= part.len() as u64;
                    self.take(&part);
                }
            }
            Framing::Chunked => {
                loop {
                    let part = self.wire.chunk().await?;
                    if part.is_empty() {
                        break;
                    }
                    self.take(&part);
                }
                trailers = self.wire.trailers().await?;
            }
            Framing::None | Framing::UntilClose => {}
        }
        if let Some(index) = self.record {
            let record = &mut self.shared.log.lock()[index];
            record.complete = true;
            record.trailers = trailers;
        }
        Ok(())
    }

    fn take(&mut self, part: &Bytes) {
        self.body_len += part.len() as u64;
        let room = BODY_KEPT.saturating_sub(self.body.len());
        let kept = &part[..part.len().min(room)];
        self.body.extend_from_slice(kept);
        if let Some(index) = self.record {
            self.shared.log.lock()[index].body.extend_from_slice(kept);
        }
    }

    /// Waits, and fails if the client goes away before.
    async fn gone_before<T>(&mut self, event: impl Future<Output = T>) -> io::Result<T> {
        let shared = self.shared.clone();
        tokio::pin!(event);
        loop {
            tokio::select! {
                value = &mut event => return Ok(value),
                read = self.wire.fill() => if !matches!(read, Ok(1..)) {
                    shared.gone.fetch_add(1, SeqCst);
                    return Err(io::ErrorKind::ConnectionReset.into());
                },
            }
        }
    }

    async fn permit(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        self.gone_before(async move { shared.steps.acquire().await.unwrap().forget() }).await
    }

    /// The start of an answer, up to the fields about its length.
    fn head(&self, code: u64, kind: &str) -> String {
        format!("HTTP/1.1 {code} Fine\r\nContent-Type: {kind}\r\nx-colour: {}\r\n", self.shared.colour)
    }

    async fn probe(mut self) -> io::Result<Option<Wire>> {
        self.shared.probes.fetch_add(1, SeqCst);
        let ready = *self.shared.ready.lock();
        match ready {
            Ready::Hang => self.gone_before(std::future::pending::<()>()).await.map(|()| None),
            Ready::Status(code) => {
                let head = format!("HTTP/1.1 {code} Probed\r\ncontent-length: 0\r\n\r\n");
                self.wire.send(head.as_bytes()).await?;
                Ok(Some(self.wire))
            }
        }
    }

    async fn echo(mut self) -> io::Result<Option<Wire>> {
        let delay = self.number("ms", 0);
        if delay > 0 {
            self.gone_before(tokio::time::sleep(Duration::from_millis(delay))).await?;
        }
        let fields =
            self.fields.iter().map(|(name, value)| [name.clone(), String::from_utf8_lossy(value).into_owned()]);
        let body = json!({
            "colour": self.shared.colour, "method": self.method, "target": self.target,
            "connection": self.connection, "body_len": self.body_len, "fields": fields.collect::<Vec<_>>(),
        });
        let body = body.to_string();
        let code = self.number("code", 200);
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head(code, "application/json"), body.len());
        let sent = if self.method == "HEAD" || code == 204 || code == 304 { "" } else { body.as_str() };
        self.shared.note('S', self.soak_id.as_ref());
        self.wire.send([head.as_bytes(), sent.as_bytes()].concat().as_slice()).await?;
        if self.is("then", "close") {
            // As uvicorn does after an exception: no word about it, and a moment later than the answer.
            tokio::time::timeout(Duration::from_millis(5), self.wire.stream.readable()).await.ok();
            return Ok(None);
        }
        Ok(Some(self.wire))
    }

    async fn tokens(mut self, stepwise: bool) -> io::Result<Option<Wire>> {
        let head = format!("{}transfer-encoding: chunked\r\n\r\n", self.head(200, "text/event-stream"));
        self.wire.send(head.as_bytes()).await?;
        let (count, every) = (self.number("n", 5), self.number("every", 0));
        for index in 0..count {
            if stepwise {
                self.permit().await?;
            } else if every > 0 {
                self.gone_before(tokio::time::sleep(Duration::from_millis(every))).await?;
            }
            let token = format!("data: {{\"i\":{index},\"colour\":\"{}\"}}\n\n", self.shared.colour);
            self.chunk(token.as_bytes()).await?;
        }
        self.shared.note('S', self.soak_id.as_ref());
        self.chunk(b"data: [DONE]\n\n").await?;
        self.wire.send(b"0\r\n\r\n").await?;
        Ok(Some(self.wire))
    }

    async fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        let size = format!("{:x}\r\n", data.len());
        self.wire.send(&[size.as_bytes(), data, b"\r\n"].concat()).await
    }

    async fn infer(mut self) -> io::Result<Option<Wire>> {
        let score = if self.shared.colour == "pink" { 0.9 } else { 0.1 };
        let output = json!({"name": "score", "datatype": "FP64", "shape": [1], "data": [score]});
        let body = json!({"model_name": "iris", "outputs": [output]}).to_string();
        let head = format!("{}content-length: {}\r\n\r\n", self.head(200, "application/json"), body.len());
        self.wire.send(format!("{head}{body}").as_bytes()).await?;
        Ok(Some(self.wire))
    }

    async fn trailers(mut self) -> io::Result<Option<Wire>> {
        let head = self.head(200, "text/plain");
        let rest =
            "transfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n5\r\nhello\r\n0\r\nx-checksum: abc\r\n\r\n";
        self.wire.send(format!("{head}{rest}").as_bytes()).await?;
        Ok(Some(self.wire))
    }

    async fn die(mut self) -> io::Result<Option<Wire>> {
        let head = self.head(200, "text/plain");
        let rest = if self.is("frame", "chunked") {
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        } else {
            "content-length: 1000\r\n\r\nhello"
        };
        self.wire.send(format!("{head}{rest}").as_bytes()).await?;
        // The half must have been passed on before the break, or it may overtake it: the test gives the word.
        self.permit().await?;
        if self.is("how", "rst") {
            self.wire.reset();
        }
        Ok(None)
    }

    fn hex(&self) -> Vec<u8> {
        let hex = self.query.get("hex").cloned().unwrap_or_default();
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// Answers, keeps the connection, and takes down what comes of a body all the same.
    async fn answer_unasked(mut self) -> io::Result<Option<Wire>> {
        let head = self.head(self.number("code", 417), "text/plain");
        self.wire.send(format!("{head}content-length: 2\r\n\r\nno").as_bytes()).await?;
        self.read_rest().await
    }

    async fn read_rest(mut self) -> io::Result<Option<Wire>> {
        self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("expect"));
        self.read_body().await?;
        Ok(Some(self.wire))
    }

    async fn raw(mut self) -> io::Result<Option<Wire>> {
        let bytes = self.hex();
        self.wire.send(&bytes).await?;
        Ok(self.is("then", "keep").then_some(self.wire))
    }

    async fn early(mut self) -> io::Result<Option<Wire>> {
        let code = self.number("code", 413);
        let head = self.head(code, "text/plain");
        self.wire.send(format!("{head}connection: close\r\ncontent-length: 9\r\n\r\ntoo large").as_bytes()).await?;
        self.wire.stream.shutdown().await?;
        while self.wire.fill().await? > 0 {
            self.wire.buffer.clear();
        }
        Ok(None)
    }

    async fn deaf(self) -> io::Result<Option<Wire>> {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(Some(self.wire))
    }

    async fn big(mut self) -> io::Result<Option<Wire>> {
        let mut left = self.number("bytes", 1 << 20);
        let head = format!("{}content-length: {left}\r\n\r\n", self.head(200, "application/octet-stream"));
        self.wire.send(head.as_bytes()).await?;
        let block = vec![b'v'; 64 * 1024];
        while left > 0 {
            let part = usize::try_from(left.min(block.len() as u64)).unwrap();
            self.wire.send(&block[..part]).await?;
            self.shared.written.fetch_add(part as u64, SeqCst);
            left -= part as u64;
        }
        Ok(Some(self.wire))
    }

    async fn upgrade(mut self) -> io::Result<Option<Wire>> {
        let accept =
            "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let greeting = if self.is("greet", "1") { "hello" } else { "" };
        let head = format!("HTTP/1.1 101 Switching\r\nx-colour: {}\r\n{accept}\r\n{greeting}", self.shared.colour);
        self.wire.send(head.as_bytes()).await?;
        loop {
            let bytes = self.wire.buffer.split();
            self.wire.send(&bytes).await?;
            if self.wire.fill().await? == 0 {
                return Ok(None);
            }
        }
    }
}
