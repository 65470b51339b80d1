//! Clients on connections of their own that check every answer: whose it is, and whether it is whole.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::server::random;
use crate::support::{
    client::{Conn, request},
    wait::until_true,
};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Infer,
    /// A request that the server answers with 500. It is not a good request, but it is to get its answer.
    Bad,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) done: u64,
    pub(super) failures: Vec<String>,
    /// Upstream connections that answers came over.
    pub(super) connections: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
    failures: Mutex<Vec<String>>,
    connections: Mutex<HashSet<String>>,
}

/// A running load.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    /// So many clients, which share the kinds.
    pub(super) fn start(addr: SocketAddr, kinds: &[Kind], clients: usize) -> Self {
        let mut load = Self { shared: Arc::default(), clients: JoinSet::new() };
        for (number, kind) in (0..clients).zip(kinds.iter().cycle()) {
            load.clients.spawn(client(addr, *kind, number, load.shared.clone()));
        }
        load
    }

    pub(super) fn done(&self) -> u64 {
        self.shared.done.load(SeqCst)
    }

    pub(super) async fn until_done(self, requests: u64) -> Report {
        while self.done() < requests {
            let before = self.done();
            until_true("the load to go on", || self.done() > before).await;
        }
        self.finish().await
    }

    pub(super) async fn finish(mut self) -> Report {
        self.shared.stop.store(true, SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        Report {
            done: self.done(),
            failures: std::mem::take(&mut self.shared.failures.lock().unwrap()),
            connections: self.shared.connections.lock().unwrap().len() as u64,
        }
    }
}

async fn client(addr: SocketAddr, kind: Kind, number: usize, shared: Arc<Shared>) {
    let mut conn = Conn::open(addr).await;
    let mut round = 0;
    while !shared.stop.load(SeqCst) {
        round += 1;
        let name = format!("{kind:?}-{number}-{round}");
        match one(&mut conn, kind, &name).await {
            Ok(connection) => drop(shared.connections.lock().unwrap().insert(connection)),
            Err(why) => {
                shared.failures.lock().unwrap().push(format!("{name}: {why}"));
                conn = Conn::open(addr).await;
            }
        }
        shared.done.fetch_add(1, SeqCst);
        // Half of the requests follow at once; the others find idle connections of every age.
        if random(&(0..2)) == 0 {
            tokio::time::sleep(Duration::from_millis(random(&(0..40)))).await;
        }
    }
}

/// One request; the upstream connection that answered it.
async fn one(conn: &mut Conn, kind: Kind, name: &str) -> Result<String, String> {
    let field = format!("x-name: {name}\r\n");
    let (method, target, body, status) = match kind {
        Kind::Get => ("GET", "/v2/models/iris", String::new(), 200),
        Kind::Infer => ("POST", "/v2/models/iris/infer", format!("{{\"inputs\":\"{}\"}}", name.repeat(20)), 200),
        Kind::Bad => ("POST", "/v2/models/iris/infer?bad", "bad".to_owned(), 500),
    };
    conn.wire.send(&request(method, target, &field, body.as_bytes())).await.map_err(|bad| format!("send: {bad}"))?;
    let got = tokio::time::timeout(Duration::from_secs(20), conn.try_answer(method)).await;
    let got = got.map_err(|_late| "no answer within 20 s".to_owned())?.map_err(|bad| bad.to_string())?;
    if (got.status, got.field("x-name").as_deref(), got.text()) != (status, Some(name), body) {
        return Err(format!("{} {:?} {}", got.status, got.error(), got.text()));
    }
    got.field("x-connection").ok_or_else(|| "no connection named".to_owned())
}
