//! The upstream side over HTTP/1.1, byte by byte: tables of what a server may send, and what the client and the *next*
//! request get to know of it.
//!
//! The origin here is a script, not a server: a request's path names the steps that follow its head, so that every byte,
//! pause and close stands in the table. Each attempt at the same path takes the next script of that path; a path
//! without one gets a plain answer that says which connection it came over. Probes get their 200 on the side.
//! Never: a sleep in the hope that something has happened; a step waits for bytes, for the peer's end, or for the test.

mod answers;
mod fields;
mod framing;
mod origin;
mod pool;
mod replay;
mod streaming;
mod upgrade;
mod uploads;

use http::Request;

use self::origin::{End, Scripted, Step};
use crate::support::{
    client::{Answer, Conn, get},
    config::{Config, Service},
    grpc::Channel,
    proxy::Proxy,
    wait::{until_true, within},
};

/// A scripted origin and a proxy of one worker in front of it: one pool, so that reuse can be seen.
struct Stage {
    origin: Scripted,
    proxy: Proxy,
}

/// What the client is to see of an answer.
#[derive(Clone, Debug)]
enum Seen {
    /// The whole answer with this status and body.
    Whole(u16, &'static str),
    /// The proxy's own answer, and no byte of the upstream's.
    Refused(&'static str),
    /// A head with this status, then an end that is visibly not one.
    Cut(u16),
}

/// What becomes of the upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Reused,
    Discarded,
}

/// One row of a table: what the origin sends, how it goes on, what is seen of it.
struct Row {
    name: &'static str,
    method: &'static str,
    sent: Vec<u8>,
    end: Ending,
    seen: Seen,
    after: After,
}

/// What the origin does after the bytes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Keep,
    Fin,
    Rst,
}

use After::{Discarded, Reused};
use Ending::{Fin, Keep, Rst};
use Seen::{Cut, Refused, Whole};

fn row(name: &'static str, sent: impl AsRef<[u8]>, end: Ending, seen: Seen, after: After) -> Row {
    Row { name, method: "GET", sent: sent.as_ref().to_vec(), end, seen, after }
}

impl Row {
    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }
}

impl Stage {
    async fn new() -> Self {
        Self::with("", "").await
    }

    /// With more keys and tables of the service.
    async fn with(keys: &str, tables: &str) -> Self {
        Self::with_all("", keys, tables).await
    }

    /// With more tables of the process.
    async fn with_process(process: &str) -> Self {
        Self::with_all(process, "", "").await
    }

    async fn with_all(process: &str, keys: &str, tables: &str) -> Self {
        let origin = Scripted::start().await;
        let mut service = Service::new("iris", &origin.url(), "");
        service.keys = keys.to_owned();
        service.tables = tables.to_owned();
        let config = Config { workers: 1, ..Config::new(vec![service]).tables(process) };
        Self { proxy: Proxy::ready(&config).await, origin }
    }

    /// The connection over which a plain request is answered now; `conn` is the client's.
    async fn next_connection(&self, conn: &mut Conn) -> u64 {
        let answer = conn.call(&get("/next")).await;
        assert_eq!(answer.status, 200, "the next request must not suffer: {answer:?}");
        connection_of(&answer)
    }

    /// Plays every row; says the names of all that went wrong.
    async fn play(&self, rows: Vec<Row>) {
        let mut wrong = Vec::new();
        let count = rows.len();
        for row in rows {
            let name = row.name;
            if let Err(why) = self.play_one(row).await {
                wrong.push(format!("{name}: {why}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {count} cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    async fn play_one(&self, row: Row) -> Result<(), String> {
        let path = self.origin.path();
        let mut steps = vec![Step::Send(row.sent.clone())];
        match row.end {
            Keep => {}
            Fin => steps.push(Step::Fin),
            Rst => steps.push(Step::Rst),
        }
        self.origin.script(&path, steps);
        let mut conn = self.proxy.conn().await;
        conn.send(format!("{} {path} HTTP/1.1\r\nhost: iris.test\r\n\r\n", row.method).as_bytes()).await;
        check(&mut conn, row.method, &row.seen).await?;
        let used = self.origin.last(&path).connection;
        if self.origin.attempts(&path) != 1 {
            return Err(format!("it was sent {} times", self.origin.attempts(&path)));
        }
        if row.after == Discarded {
            soon("the upstream connection's end", self.origin.ended(used)).await?;
        }
        if matches!(row.seen, Cut(_)) {
            conn = self.proxy.conn().await;
        }
        let next = self.next_connection(&mut conn).await;
        let reused = if next == used { Reused } else { Discarded };
        if reused == row.after { Ok(()) } else { Err(format!("the connection was {reused:?}")) }
    }

    /// Asks over HTTP/2; the status and how the body ended.
    async fn over_http2(&self, path: &str) -> (u16, Result<Vec<u8>, Option<h2::Reason>>) {
        let channel = Channel::open(self.proxy.addr).await;
        let request = Request::get(channel.uri(path)).body(()).unwrap();
        let (response, _send) = channel.request(request, true).await.unwrap();
        let response = within("a head", response).await.unwrap();
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        let end = within("the end", async {
            loop {
                match body.data().await {
                    Some(Ok(data)) => {
                        body.flow_control().release_capacity(data.len()).ok();
                        bytes.extend_from_slice(&data);
                    }
                    Some(Err(error)) => return Err(error.reason()),
                    None => return Ok(()),
                }
            }
        })
        .await;
        (status, end.map(|()| bytes))
    }

    async fn failures(&self, kind: &str) -> f64 {
        self.proxy.metric("verdigris_request_failures_total", &[&format!("kind=\"{kind}\"")]).await
    }
}

fn connection_of(answer: &Answer) -> u64 {
    answer.field("x-connection").and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// A row that hangs is a row that went wrong; the table goes on.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    let limit = std::time::Duration::from_secs(3);
    tokio::time::timeout(limit, future).await.map_err(|_late| format!("{what} never comes"))
}

/// Compares what the client gets with what it should.
async fn check(conn: &mut Conn, method: &str, seen: &Seen) -> Result<(), String> {
    let head = match soon("the head", conn.try_head(method)).await? {
        Ok(head) => head,
        // A cut that comes right behind the head may overtake it; a close without an answer is visible enough.
        Err(_) if matches!(seen, Cut(_)) => return Ok(()),
        Err(bad) => return Err(format!("head: {bad}")),
    };
    let (status, error) = (head.status, head.field("x-verdigris-error"));
    let rest = soon("the rest", conn.try_rest(head)).await?;
    match (seen, rest) {
        (Whole(wanted, body), Ok(answer)) if *wanted == status && error.is_none() => {
            if answer.text() == *body {
                Ok(())
            } else {
                Err(format!("body {:?}", answer.text()))
            }
        }
        (Refused(kind), Ok(answer)) if error.as_deref() == Some(*kind) => {
            let foreign = answer.field("x-origin").is_some();
            if status == 502 && !foreign { Ok(()) } else { Err(format!("passed on: {answer:?}")) }
        }
        (Cut(wanted), Err(_)) if *wanted == status => Ok(()),
        (_, rest) => Err(format!("{seen:?} was wanted, got {status} {error:?} {rest:?}")),
    }
}

/// An answer's bytes: status line and fields by CRLF, then the body as it stands.
fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", head.replace('|', "\r\n")).into_bytes()
}
