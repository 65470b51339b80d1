//! A fake model server over gRPC: HTTP/2 without TLS, messages opaque, status in the trailers.
//!
//! | method | behaviour |
//! |---|---|
//! | `/inference.GRPCInferenceService/ServerReady`, `/grpc.health.v1.Health/Check` | readiness |
//! | `/inference.GRPCInferenceService/ModelMetadata` | what the test says of the model, or UNIMPLEMENTED |
//! | `/inference.GRPCInferenceService/ModelStreamInfer` | three answers with a text, `blue:0`, `blue:1` and `blue:2`, once the request has ended |
//! | `/test.Echo/Unary` | the message, after the colour: `blue:hello` |
//! | `/test.Echo/ClientStream` | one message with the number of messages: `blue:3` |
//! | `/test.Echo/ServerStream` | as many messages as the request says: `blue:0`, `blue:1`, … |
//! | `/test.Echo/Bidi` | echoes each message as it comes |
//! | `/test.Echo/Fail` | trailers only, status 5 |
//! | `/test.Echo/FailLate` | one message, then status 13 in the trailers |
//! | `/test.Echo/Reset` | one message, then RST_STREAM |
//! | `/test.Echo/Hang` | never answers |

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Connection, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
};

use super::{
    binary::free_listener,
    grpc_wire::{Messages, frame, pass},
};

pub(crate) struct GrpcShared {
    pub(crate) colour: String,
    pub(crate) ready: AtomicBool,
    pub(crate) connections: AtomicU64,
    /// Calls other than probes.
    pub(crate) calls: AtomicU64,
    /// Calls whose client reset them.
    pub(crate) gone: AtomicU64,
    /// What `ModelMetadata` answers, encoded; without it the method is UNIMPLEMENTED.
    pub(crate) description: Mutex<Option<Vec<u8>>>,
    /// The metadata of the last call.
    pub(crate) metadata: Mutex<HeaderMap>,
    /// Its `:authority` and `:path`.
    pub(crate) target: Mutex<String>,
}

/// A running gRPC origin; dropping it ends every connection.
pub(crate) struct GrpcOrigin {
    pub(crate) addr: SocketAddr,
    pub(crate) shared: Arc<GrpcShared>,
    accept: JoinHandle<()>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl GrpcOrigin {
    pub(crate) async fn start(colour: &str) -> Self {
        Self::on(TcpListener::from_std(free_listener()).unwrap(), colour)
    }

    pub(crate) fn on(listener: TcpListener, colour: &str) -> Self {
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(GrpcShared {
            colour: colour.to_owned(),
            ready: AtomicBool::new(true),
            connections: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            description: Mutex::default(),
            metadata: Mutex::default(),
            target: Mutex::default(),
        });
        let open = Arc::new(Mutex::new(Vec::new()));
        let accept = tokio::spawn(accept_all(listener, shared.clone(), open.clone()));
        Self { addr, shared, accept, open }
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.addr)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(SeqCst)
    }

    pub(crate) fn gone(&self) -> u64 {
        self.shared.gone.load(SeqCst)
    }

    /// The value of a metadata field of the last call.
    pub(crate) fn metadata(&self, name: &str) -> Option<String> {
        let metadata = self.shared.metadata.lock().unwrap();
        metadata.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Stops as a killed process does.
    pub(crate) async fn kill(&self) {
        self.abort();
        super::wait::until("the listener's end", || async {
            match TcpStream::connect(self.addr).await {
                Ok(_) => Err("still accepts"),
                Err(_) => Ok(()),
            }
        })
        .await;
    }

    fn abort(&self) {
        self.accept.abort();
        for connection in self.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

impl Drop for GrpcOrigin {
    fn drop(&mut self) {
        self.abort();
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<GrpcShared>, open: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        shared.connections.fetch_add(1, SeqCst);
        let task = tokio::spawn(serve(stream, shared.clone()));
        open.lock().unwrap().push(task.abort_handle());
    }
}

async fn serve(stream: TcpStream, shared: Arc<GrpcShared>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_connection_window_size(i32::MAX.cast_unsigned());
    let Ok(mut connection): Result<Connection<_, Bytes>, _> = builder.handshake(stream).await else { return };
    let mut calls = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let shared = shared.clone();
        calls.spawn(async move {
            if call(request, respond, &shared).await.is_err() {
                shared.gone.fetch_add(1, SeqCst);
            }
        });
    }
}

fn head(shared: &GrpcShared) -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc").header("x-colour", &shared.colour);
    response.body(()).unwrap()
}

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers
}

async fn call(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &GrpcShared,
) -> Result<(), h2::Error> {
    let (parts, body) = request.into_parts();
    let mut incoming = Messages::new(body);
    let method = parts.uri.path().to_owned();
    match method.rsplit('/').next() {
        Some("ServerReady" | "Check") => return readiness(respond, shared),
        Some("ModelMetadata") => return describe(respond, shared),
        Some("ModelStreamInfer") => return stream_answers(incoming, respond, shared).await,
        _ => {}
    }
    shared.calls.fetch_add(1, SeqCst);
    *shared.target.lock().unwrap() = format!("{} {method}", parts.uri.authority().unwrap());
    *shared.metadata.lock().unwrap() = parts.headers;
    let name = method.rsplit('/').next().unwrap_or_default();
    let say = |what: &str| frame(format!("{}:{what}", shared.colour).as_bytes());
    match name {
        "Fail" => {
            let mut response = head(shared);
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static("no such model"));
            respond.send_response(response, true)?;
        }
        "Hang" => {
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await?;
            return Err(reason.into());
        }
        "Reset" | "FailLate" => {
            let mut send = respond.send_response(head(shared), false)?;
            send.send_data(say("first"), false)?;
            if name == "Reset" {
                incoming.next().await?;
                send.send_reset(Reason::INTERNAL_ERROR);
            } else {
                send.send_trailers(status("13"))?;
            }
        }
        "Bidi" => {
            let mut send = respond.send_response(head(shared), false)?;
            while let Some(message) = incoming.next().await? {
                pass(&mut send, say(&String::from_utf8_lossy(&message))).await?;
            }
            send.send_trailers(status("0"))?;
        }
        "ClientStream" => {
            let mut count = 0;
            while incoming.next().await?.is_some() {
                count += 1;
            }
            let mut send = respond.send_response(head(shared), false)?;
            send.send_data(say(&count.to_string()), false)?;
            send.send_trailers(status("0"))?;
        }
        "ServerStream" => {
            let first = incoming.next().await?.unwrap_or_default();
            let count: u64 = std::str::from_utf8(&first).unwrap().parse().unwrap();
            let mut send = respond.send_response(head(shared), false)?;
            for index in 0..count {
                pass(&mut send, say(&index.to_string())).await?;
            }
            send.send_trailers(status("0"))?;
        }
        _ => {
            let message = last(&mut incoming).await?;
            let mut send = respond.send_response(head(shared), false)?;
            pass(&mut send, say(&String::from_utf8_lossy(&message))).await?;
            send.send_trailers(status("0"))?;
        }
    }
    Ok(())
}

async fn stream_answers(
    mut incoming: Messages,
    mut respond: SendResponse<Bytes>,
    shared: &GrpcShared,
) -> Result<(), h2::Error> {
    last(&mut incoming).await?;
    let mut send = respond.send_response(head(shared), false)?;
    for index in 0..3 {
        pass(&mut send, frame(&stream_answer(&format!("{}:{index}", shared.colour)))).await?;
    }
    send.send_trailers(status("0"))
}

/// `ModelStreamInferResponse` with one output of one text: field 2 is the answer, 5 of that the output, 1 to 3 and 5 of that
/// name, datatype, shape and contents, 8 of those the text.
fn stream_answer(text: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let contents = field(5, &field(8, text.as_bytes()));
    let output = [field(1, b"text"), field(2, b"BYTES"), field(3, &[1]), contents].concat();
    field(2, &field(5, &output))
}

/// The last message of a call.
async fn last(incoming: &mut Messages) -> Result<Bytes, h2::Error> {
    let mut message = Bytes::new();
    while let Some(next) = incoming.next().await? {
        message = next;
    }
    Ok(message)
}

fn describe(mut respond: SendResponse<Bytes>, shared: &GrpcShared) -> Result<(), h2::Error> {
    let description = shared.description.lock().unwrap().clone();
    let mut send = respond.send_response(head(shared), false)?;
    match description {
        Some(message) => {
            send.send_data(frame(&message), false)?;
            send.send_trailers(status("0"))
        }
        None => send.send_trailers(status("12")),
    }
}

/// Field 1 of both answers is the verdict: `true`, or SERVING.
fn readiness(mut respond: SendResponse<Bytes>, shared: &GrpcShared) -> Result<(), h2::Error> {
    let ready: &[u8] = if shared.ready.load(SeqCst) { &[0x08, 0x01] } else { &[] };
    let mut send = respond.send_response(head(shared), false)?;
    send.send_data(frame(ready), false)?;
    send.send_trailers(status("0"))
}
