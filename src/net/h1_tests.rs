use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, LocalSet},
};

use super::*;
use crate::{
    config,
    net::{ClientConn, ConnRules, Patrol, serve},
    telemetry::Registry,
};

struct Nobody;

impl Refusals for Nobody {
    fn refuse(&self, _peer: IpAddr, _kind: FailureKind) -> Bytes {
        Bytes::from_static(b"refused")
    }
}

/// A connection to a service that says what it was sent.
struct Talk {
    client: TcpStream,
    conn: Arc<ClientConn>,
    patrol: Rc<Patrol>,
    limits: config::settings::Limits,
    started: Instant,
    served: JoinHandle<()>,
}

impl Talk {
    async fn begin() -> Self {
        let text = "version = 1\n[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://127.0.0.1:1\"]\n";
        let clients = config::parse(text, "test.toml").unwrap().settings.proxy.client_rules();
        let limits = clients.limits.clone();
        let rules = Rc::new(ConnRules::new(Arc::new(clients), None, Registry::new(1).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let stream = stream.into_std().unwrap();
        let started = Instant::now();
        let patrol = Patrol::new(started);
        let seen: Rc<RefCell<Option<Arc<ClientConn>>>> = Rc::default();
        let served = tokio::task::spawn_local({
            let (patrol, seen) = (patrol.clone(), seen.clone());
            async move {
                serve(stream, peer.ip(), rules, patrol, &Nobody, |conn| {
                    *seen.borrow_mut() = Some(conn.clone());
                    service_fn(move |request: Request<Incoming>| answer(conn.clone(), request))
                })
                .await;
            }
        });
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        while seen.borrow().is_none() {
            tokio::task::yield_now().await;
        }
        let conn = seen.borrow().clone().unwrap();
        let mut talk = Self { client, conn, patrol, limits, started, served };
        assert_eq!(talk.answer().await, "");
        talk
    }

    /// Sends a request and reads the body of its answer, which is as long as the request's.
    async fn ask(&mut self, request: &str) -> String {
        self.client.write_all(request.as_bytes()).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            self.client.read_buf(&mut text).await.unwrap();
            let text = String::from_utf8_lossy(&text);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return body.to_owned();
            }
        }
    }

    /// The patrol looks, so much later.
    fn look(&self, later: Duration) {
        self.patrol.tick(self.started + later, &self.limits);
    }

    async fn until_resting(&self) {
        while !self.conn.is_resting() {
            tokio::task::yield_now().await;
        }
    }
}

async fn answer(conn: Arc<ClientConn>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    conn.enter(true, request.body().size_hint().exact());
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    conn.leave();
    Ok(Response::builder().header("content-length", body.len()).body(Full::new(body)).unwrap())
}

fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

const SECOND: Duration = Duration::from_secs(1);

/// Fails when: in `spell`, the service or the stream is not given on; in `until_word`, the client's bytes wake nobody.
#[test]
fn it_rests_when_it_is_quiet_and_wakes_by_a_byte() {
    local(async {
        let mut talk = Talk::begin().await;
        for round in 1..4 {
            talk.look(SECOND * round);
            talk.until_resting().await;
            let said = talk.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
            assert_eq!(said, "hello");
            assert!(!talk.conn.is_resting());
        }
        let said =
            talk.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(said, "abc");
        talk.look(SECOND * 9);
        talk.until_resting().await;
        drop(talk.client);
        talk.served.await.unwrap();
    });
}

/// Fails when: in `ClientConn::may_rest`, it is not looked at what the connection does, or how far it was read.
#[test]
fn it_does_not_rest_in_the_middle_of_anything() {
    local(async {
        let mut talk = Talk::begin().await;
        for (begin, rest) in [
            ("POST / HTTP/1.1\r\nho", "st: a\r\ncontent-length: 2\r\n\r\nok"),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\no", "k"),
        ] {
            talk.client.write_all(begin.as_bytes()).await.unwrap();
            while talk.conn.doing() == Doing::Idle {
                tokio::task::yield_now().await;
            }
            talk.look(SECOND);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(!talk.conn.is_resting());
            assert_eq!(talk.ask(rest).await, "ok");
        }
        talk.conn.note_place(7);
        assert!(!talk.conn.may_rest(), "whose end is not known");
    });
}

/// Fails when: an order is lost in a rest.
#[test]
fn orders_end_a_rest() {
    local(async {
        for later in [SECOND * 76, SECOND] {
            let mut talk = Talk::begin().await;
            talk.look(SECOND / 2);
            talk.until_resting().await;
            if later == SECOND {
                talk.patrol.finish();
            } else {
                talk.look(later);
            }
            talk.served.await.unwrap();
            assert_eq!(talk.client.read(&mut [0]).await.unwrap(), 0, "closed");
        }
    });
}
