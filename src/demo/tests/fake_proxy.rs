//! A switch in the simplest form: enough of a proxy for the demo to be tested without one, honest or not.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    api::{
        ChangeOutcome, ChangeReply, DrainStatus, InFlight, RollbackStatus, ServiceStatus, SlotPhase, SlotStatus,
        SwitchRequest,
    },
    demo::{Servers, client::Client},
    ids::{Generation, PerSlot, Slot},
};

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Ways in which a proxy could break its promises.
#[derive(Debug, Default)]
pub(super) struct Sins {
    /// Says `safe_to_delete` while requests still run.
    pub(super) lies_about_drain: AtomicBool,
    /// Sends every seventh request to the slot that does not serve.
    pub(super) strays: AtomicBool,
    /// Tells clients to close their connections.
    pub(super) closes: AtomicBool,
}

#[derive(Debug)]
pub(super) struct FakeProxy {
    pub(super) addr: SocketAddr,
    pub(super) sins: Sins,
    upstreams: PerSlot<SocketAddr>,
    state: Mutex<State>,
    /// Cloned into every body that still runs.
    leases: PerSlot<Arc<()>>,
    /// A token stream has begun on the slot that serves.
    stream_began: Notify,
}

#[derive(Debug)]
struct State {
    active: Slot,
    generation: u64,
    requests: u64,
}

impl FakeProxy {
    pub(super) async fn start(servers: &Servers) -> Arc<FakeProxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Arc::new(FakeProxy {
            addr: listener.local_addr().unwrap(),
            sins: Sins::default(),
            upstreams: PerSlot { blue: servers.blue.addr(), green: servers.green.addr() },
            state: Mutex::new(State { active: Slot::Blue, generation: 1, requests: 0 }),
            leases: PerSlot::default(),
            stream_began: Notify::new(),
        });
        tokio::spawn(accept(listener, Arc::clone(&proxy)));
        Arc::clone(&proxy)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let path = request.uri().path().to_owned();
        Ok(match path.strip_prefix("/v1/services/iris") {
            None => self.forward(request).await,
            Some("") => json_answer(&self.status()),
            Some("/switch") => {
                let order: SwitchRequest =
                    serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
                json_answer(&self.switch(order.to.unwrap(), order.wait.is_some()).await)
            }
            Some("/rollback") => {
                let back = self.status().active.other();
                json_answer(&self.switch(back, false).await)
            }
            Some(other) => panic!("the demo called {other}"),
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Answer {
        let slot = self.assign();
        let lease = Arc::clone(&self.leases[slot]);
        let (head, body) = request.into_parts();
        let is_stream = head.uri.path().ends_with("/generate_stream");
        let body = body.collect().await.unwrap().to_bytes();
        let mut client = Client::new(self.upstreams[slot]);
        let Ok(mut answer) = client.send(Request::from_parts(head, Full::from(body))).await else {
            let mut answer = Response::new(Full::default().map_err(|never| match never {}).boxed());
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            return answer;
        };
        let version = if slot == Slot::Blue { "1" } else { "2" };
        answer.headers_mut().insert("x-verdigris-version", HeaderValue::from_static(version));
        if self.sins.closes.load(Ordering::Relaxed) {
            answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        if is_stream && slot == self.status().active {
            self.stream_began.notify_waiters();
        }
        // The client lives as long as the body, or its connection would end here.
        let held = move |frame| (&lease, &client, frame).2;
        answer.map(|body| body.map_frame(held).boxed())
    }

    fn assign(&self) -> Slot {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        let strays = self.sins.strays.load(Ordering::Relaxed) && state.requests.is_multiple_of(7);
        if strays { state.active.other() } else { state.active }
    }

    async fn switch(&self, to: Slot, wait: bool) -> ChangeReply {
        if wait && self.sins.lies_about_drain.load(Ordering::Relaxed) {
            // A lie takes something to lie about: a stream with nearly all its words before it. However slow the machine,
            // it takes a turn of the runtime for each of them, and the caller has deleted the slot after a few.
            self.stream_began.notified().await;
        }
        let generation = {
            let mut state = self.state.lock().unwrap();
            (state.active, state.generation) = (to, state.generation + 1);
            Generation(state.generation)
        };
        while wait && !self.drain(to.other()).safe_to_delete {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ChangeReply {
            service: "iris".parse().unwrap(),
            outcome: ChangeOutcome::Switched,
            generation,
            active: to,
            previous: to.other(),
            forced: false,
            gate: None,
            drain: Some(self.drain(to.other())),
            message: format!("{to} serves"),
        }
    }

    fn drain(&self, slot: Slot) -> DrainStatus {
        let total = Arc::strong_count(&self.leases[slot]) as u64 - 1;
        let safe_to_delete = total == 0 || self.sins.lies_about_drain.load(Ordering::Relaxed);
        let in_flight = InFlight { total, ..InFlight::default() };
        DrainStatus { in_flight, safe_to_delete, why: format!("{total} in flight"), ..DrainStatus::default() }
    }

    fn status(&self) -> ServiceStatus {
        let (active, generation) = {
            let state = self.state.lock().unwrap();
            (state.active, Generation(state.generation))
        };
        let phase = |slot| match self.drain(slot).in_flight.total {
            _ if slot == active => SlotPhase::Active,
            0 => SlotPhase::Drained,
            _ => SlotPhase::Draining,
        };
        ServiceStatus {
            name: "iris".parse().unwrap(),
            generation,
            active,
            matches: String::new(),
            pending: None,
            under_way: None,
            rollback: RollbackStatus { to: None, instant: true, why: String::new() },
            slots: PerSlot::from_fn(|slot| SlotStatus {
                slot,
                phase: phase(slot),
                version: Some(if slot == Slot::Blue { "1" } else { "2" }.to_owned()),
                endpoints: Vec::new(),
                drain: self.drain(slot),
                tested: None,
            }),
        }
    }
}

async fn accept(listener: TcpListener, proxy: Arc<FakeProxy>) {
    while let Ok((stream, _peer)) = listener.accept().await {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let service = service_fn(|request| proxy.answer(request));
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn json_answer(body: &impl serde::Serialize) -> Answer {
    Response::new(Full::from(json!(body).to_string()).map_err(|never| match never {}).boxed())
}
