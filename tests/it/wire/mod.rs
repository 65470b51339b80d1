//! HTTP/1.1 on the client's side, byte by byte: tables of what a client may send, what it then sees, and what the server
//! behind the proxy sees of it.
//!
//! Invariants: every case runs on a connection of its own; what reached the server is read from the bytes it got; after
//! each case the proxy still serves others, and no mistake of a client is counted as the server's.
//! Never: knowledge of how the proxy decides. Where the RFC leaves a choice, a case lists each lawful outcome.

mod chunked;
mod expect;
mod fields;
mod half_close;
mod hop_by_hop;
mod interim;
mod limits;
mod pipelining;
mod semantics;
mod smuggling;
mod syntax;

use std::time::Duration;

use crate::support::{
    client::{Answer, Conn, get},
    config::Config,
    origin::{Origin, Recorded},
    proxy::Proxy,
};

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another request on it is answered.
    Goes,
    /// It is closed.
    Closes,
    /// Either is lawful.
    Any,
}

/// One row of a table.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// Statuses that are lawful; 0 is a close without an answer.
    pub(super) allowed: Vec<u16>,
    pub(super) after: After,
    /// Looks at what reached the server, if the request was one to pass on.
    pub(super) check: Option<Check>,
}

pub(super) type Check = Box<dyn Fn(&Recorded, &Answer) -> Result<(), String>>;

/// A request that must not reach the server: refused, and the connection closed.
pub(super) fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    let allowed = vec![400, 405, 414, 431, 501, 505];
    Case { name: name.into(), bytes: bytes.into(), allowed, after: After::Closes, check: None }
}

/// A request that must reach the server exactly once; `check` looks at it there.
pub(super) fn passed<C>(name: &str, bytes: impl Into<Vec<u8>>, check: C) -> Case
where
    C: Fn(&Recorded, &Answer) -> Result<(), String> + 'static,
{
    Case {
        name: name.into(),
        bytes: bytes.into(),
        allowed: vec![200],
        after: After::Goes,
        check: Some(Box::new(check)),
    }
}

impl Case {
    pub(super) fn closes(mut self) -> Self {
        self.after = After::Closes;
        self
    }

    pub(super) fn either(mut self) -> Self {
        self.after = After::Any;
        self
    }

    /// Refusing it is lawful too, or closing without a word.
    pub(super) fn or_refused(mut self) -> Self {
        self.allowed.extend([0, 400, 501]);
        self.after = After::Any;
        self
    }

    pub(super) fn allowing(mut self, allowed: &[u16]) -> Self {
        self.allowed = allowed.to_vec();
        self
    }
}

/// A proxy in front of two recording servers.
pub(super) struct Bench {
    pub(super) blue: Origin,
    _green: Origin,
    pub(super) proxy: Proxy,
}

impl Bench {
    pub(super) async fn new(tables: &str) -> Self {
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        let proxy = Proxy::ready(&Config::pair(&blue, &green).tables(tables)).await;
        Self { blue, _green: green, proxy }
    }

    /// Runs the table and names every row that went wrong.
    pub(super) async fn run(&self, table: Vec<Case>) {
        let mut wrong = Vec::new();
        let count = table.len();
        for case in table {
            if let Err(what) = self.judge(&case).await {
                wrong.push(format!("{}: {what}", case.name));
            }
        }
        assert!(wrong.is_empty(), "{} of {count} went wrong: {wrong:#?}", wrong.len());
        assert_eq!(self.proxy.once(&get("/at-the-end")).await.status, 200);
        let blamed = self.proxy.metric("verdigris_request_failures_total", &["kind=\"upstream"]).await;
        assert_eq!(blamed, 0.0, "a client's mistake is not the server's");
    }

    async fn judge(&self, case: &Case) -> Result<(), String> {
        let before = usize::try_from(self.blue.hits()).unwrap();
        let mut conn = Conn::open(self.proxy.addr).await;
        // The proxy may close while a large request is still being written.
        conn.wire.send(&case.bytes).await.ok();
        let method = String::from_utf8_lossy(case.bytes.split(|byte| *byte == b' ').next().unwrap()).trim().to_owned();
        let answer = tokio::time::timeout(Duration::from_secs(5), conn.try_answer(&method)).await;
        let answer = answer.map_err(|_| "no answer and no close".to_owned())?.ok();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        if !case.allowed.contains(&status) {
            return Err(format!("answered {status}, allowed are {:?}", case.allowed));
        }
        self.judge_after(case, &mut conn, status).await?;
        let reached = &self.blue.requests()[before..];
        let reached: Vec<_> = reached.iter().filter(|sent| sent.target != "/still-there").collect();
        match (&case.check, answer) {
            (Some(check), Some(answer)) if answer.error().is_none() => match reached.as_slice() {
                [sent] => {
                    check(sent, &answer).map_err(|what| format!("{what}\n{}", String::from_utf8_lossy(&sent.head)))
                }
                other => Err(format!("{} requests reached the server", other.len())),
            },
            (_, answer) => {
                if let Some(sent) = reached.iter().find(|sent| sent.complete || sent.target == "/smuggled") {
                    return Err(format!("reached the server: {:?}", String::from_utf8_lossy(&sent.head)));
                }
                match answer {
                    Some(answer) if answer.error().is_none() => Err("refused without x-verdigris-error".into()),
                    Some(answer) if answer.body.is_empty() && method != "HEAD" => Err("refused without a body".into()),
                    Some(_) | None => Ok(()),
                }
            }
        }
    }

    async fn judge_after(&self, case: &Case, conn: &mut Conn, status: u16) -> Result<(), String> {
        if status == 0 || case.after == After::Any {
            return Ok(());
        }
        let goes = tokio::time::timeout(Duration::from_secs(5), conn.still_serves()).await.unwrap_or(false);
        match (case.after, goes) {
            (After::Goes, false) => Err("the connection does not go on".into()),
            (After::Closes, true) => Err("the connection goes on".into()),
            _ => Ok(()),
        }
    }
}

/// A second request hidden behind the first.
pub(super) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: iris.test\r\n\r\n";

/// A request without a body: the first line, and fields that each end in CRLF.
pub(super) fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: iris.test\r\n{fields}\r\n")
}

/// A POST with these fields and body.
pub(super) fn post(fields: &str, body: &str) -> String {
    format!("{}{body}", head("POST /up HTTP/1.1", fields))
}

/// Checks nothing more than that the request arrived.
pub(super) fn arrives(_sent: &Recorded, _answer: &Answer) -> Result<(), String> {
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "a table's rows read better without references")]
pub(super) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what} is {seen:?}, not {wanted:?}")) }
}
