//! The life of one client connection: tell the protocol, serve it, end it.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::{IpAddr, TcpStream},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{
    ClientConn, Patrol,
    abort::Abortable,
    conn::Doing,
    downstream::Downstream,
    gather::Gathered,
    h1::serve_h1,
    open::{Opened, open},
    patrol::{Order, Watched},
    refusal::{HeadLimits, Refusals},
    stream::Stream,
    tcp::{EARLY_BYTES, Tcp},
    tls::ServerTls,
};
use crate::{config::settings::ClientRules, telemetry::Registry};

/// The client connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Deliberately far below what the upstream side has: a client's flood of tiny frames shall end its own connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How connections are spoken with.
#[derive(Clone, Debug)]
pub struct ConnRules {
    pub clients: Arc<ClientRules>,
    /// `None`: clients speak in clear.
    pub(super) tls: Option<ServerTls>,
    pub(super) registry: Registry,
    h1: http1::Builder,
    h1_over_tls: http1::Builder,
    h2: http2::Builder<LocalExec>,
    head: HeadLimits,
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExec;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(Abortable::new(future));
    }
}

impl ConnRules {
    pub fn new(clients: Arc<ClientRules>, tls: Option<ServerTls>, registry: Registry) -> Self {
        let limits = &clients.limits;
        let mut h1 = http1::Builder::new();
        // Time limits are the patrol's: no timer a request. hyper notes the time on an answer that came without a Date
        // (RFC 9110 section 6.6.1). A client that closes its sending side may still want its answer: `hangup` decides.
        h1.preserve_header_case(true)
            .auto_date_header(true)
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes_max);
        if limits.headers_max != 100 {
            // 100 is hyper's own limit, and naming it would put the parsed headers on the heap.
            h1.max_headers(limits.headers_max);
        }
        // What the end of a TLS stream means cannot be asked of the socket: there it is the client's end.
        let mut h1_over_tls = h1.clone();
        h1_over_tls.half_close(false);
        let mut h2 = http2::Builder::new(LocalExec);
        h2.timer(TokioTimer::new())
            .auto_date_header(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        let head = HeadLimits { bytes_max: limits.header_bytes_max, fields_max: limits.headers_max };
        Self { clients, tls, registry, h1, h1_over_tls, h2, head }
    }

    pub(super) fn h1(&self, in_clear: bool) -> &http1::Builder {
        if in_clear { &self.h1 } else { &self.h1_over_tls }
    }

    /// The same with other rules for clients.
    #[must_use]
    pub fn with_clients(&self, clients: Arc<ClientRules>) -> Self {
        Self::new(clients, self.tls.clone(), self.registry.clone())
    }

    /// True if this peer's connections begin with a PROXY header.
    pub(super) fn sends_proxy_header(&self, peer: IpAddr) -> bool {
        let networks = &self.clients.proxy_protocol;
        !networks.is_empty() && networks.iter().any(|network| network.contains(&peer))
    }
}

/// Serves one client connection to its end, on a socket that does not block. `peer` is the address that it was accepted
/// from. Dropping the future closes it at once.
pub async fn serve<M, S, B>(
    stream: TcpStream,
    peer: IpAddr,
    rules: Rc<ConnRules>,
    patrol: Rc<Patrol>,
    refusals: &impl Refusals,
    service: M,
) where
    M: FnOnce(Arc<ClientConn>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    S::Future: 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut watched = patrol.watch(peer.to_canonical());
    let Some(Opened { mut stream, mut early, is_http2 }) = open(Tcp::Unregistered(stream), &rules, &mut watched).await
    else {
        return;
    };
    let is_http2 = match is_http2 {
        Some(agreed) => agreed,
        None => match tell_protocol(&mut stream, &mut early, &watched).await {
            Some(told) => told,
            None => return,
        },
    };
    let stream = Downstream::new(stream, early, watched.conn.clone(), rules.head);
    let service = service(watched.conn.clone());
    if is_http2 {
        watched.conn.set_http2(rules.clients.limits.resets_max);
        let stream = Gathered::new(stream);
        let conn = rules.h2.serve_connection(TokioIo::new(stream.clone()), service);
        Box::pin(serve_h2(conn, &stream, &watched)).await;
    } else {
        serve_h1(Box::new(stream), service, &rules, &watched, refusals).await;
    }
}

/// Reads until the first bytes tell HTTP/2 from HTTP/1.1. `None`: the client left or took too long.
async fn tell_protocol(stream: &mut Stream, early: &mut BytesMut, watched: &Watched) -> Option<bool> {
    // Under load a client has asked by the time that it is accepted.
    if early.is_empty() && stream.read_at_once(early) {
        watched.conn.note_read();
    }
    loop {
        let known = early.len().min(PREFACE.len());
        if early[..known] != PREFACE[..known] {
            return Some(false);
        }
        if known == PREFACE.len() {
            return Some(true);
        }
        let read = pin!(poll_fn(|cx| poll_early(stream, cx, early)));
        match until_order(read, watched).await {
            Ok(Ok(bytes)) if bytes > 0 => watched.conn.note_read(),
            Ok(_) => return None,
            Err(Order::Rest | Order::Look | Order::Announce) => continue,
            Err(Order::Finish) if watched.conn.doing() == Doing::Head => continue,
            Err(Order::Finish | Order::Expire | Order::Sever) => return None,
        }
    }
}

/// Reads what has come, most often all of the first head. The room for it is taken when it is here, because many clients
/// connect long before they ask.
fn poll_early(stream: &mut Stream, cx: &mut Context<'_>, early: &mut BytesMut) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; EARLY_BYTES];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    early.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

/// The future's result, or an order that came first.
pub(super) async fn until_order<F: Future>(mut future: Pin<&mut F>, watched: &Watched) -> Result<F::Output, Order> {
    poll_fn(|cx: &mut Context<'_>| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        watched.poll_order(cx).map(Err)
    })
    .await
}

type Http2<S> = http2::Connection<TokioIo<Gathered<Downstream>>, S, LocalExec>;

async fn serve_h2<S, B>(conn: Http2<S>, stream: &Gathered<Downstream>, watched: &Watched)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    S::Future: 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut conn = pin!(conn);
    loop {
        match until_order(pin!(stream.pushing(conn.as_mut())), watched).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, client = %watched.conn.peer, "A client's HTTP/2 connection ended with an error.");
                return;
            }
            Err(Order::Rest | Order::Look) => {}
            Err(Order::Sever) => return,
            // GOAWAY with the highest id, a PING, then the final GOAWAY; streams that are open go on (RFC 9113 section 6.8).
            Err(Order::Announce | Order::Finish | Order::Expire) => conn.as_mut().graceful_shutdown(),
        }
    }
}
