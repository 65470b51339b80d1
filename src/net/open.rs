//! From an accepted socket to a stream of HTTP: the PROXY header first, then the TLS handshake, where they are asked
//! for. Both together have `header_timeout` from the accept on; a client without either pays nothing here.

use std::{future::Future, io, net::IpAddr, pin::pin, sync::Arc};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    ClientConn, ConnRules,
    downstream::Downstream,
    patrol::{Order, Watched},
    proxy_header::{self, BadHeader, Header},
    refusal::HeadLimits,
    serve::until_order,
    stream::{Socket, Stream},
    tcp::Tcp,
};

/// A stream on which HTTP begins.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// The first bytes of HTTP, if some have come already.
    pub(super) early: BytesMut,
    /// What the client agreed to by ALPN; else its first bytes tell.
    pub(super) is_http2: Option<bool>,
}

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It said nothing, like a check of a load balancer that only connects.
    #[error("the client left")]
    Left,
    #[error(transparent)]
    Header(#[from] BadHeader),
    #[error("the PROXY header broke off: {0}")]
    HeaderCut(io::Error),
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    #[error("it took too long")]
    Late { kind: &'static str },
}

impl Failure {
    /// The word that it is counted under.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Left => None,
            Self::Header(_) | Self::HeaderCut(_) => Some(PROXY_HEADER),
            Self::Handshake(_) => Some(TLS_HANDSHAKE),
            Self::PlainHttp => Some("plain_http"),
            Self::Late { kind } => Some(kind),
        }
    }
}

const PROXY_HEADER: &str = "proxy_header";
const TLS_HANDSHAKE: &str = "tls_handshake";

/// Opens a client's stream. `None`: it left, took too long, or cannot be spoken with; that has been counted.
pub(super) async fn open(stream: Tcp, rules: &ConnRules, watched: &mut Watched) -> Option<Opened> {
    let sends_header = rules.sends_proxy_header(watched.conn.peer);
    if !sends_header && rules.tls.is_none() {
        watched.conn.set_watched(stream.is_registered());
        let stream = Stream::Plain(Socket::new(stream, BytesMut::new(), watched.conn.clone()));
        return Some(Opened { stream, early: BytesMut::new(), is_http2: None });
    }
    // Time runs from now on, not from the client's first byte.
    watched.conn.note_read();
    let mut held = None;
    // Boxed, so that a client in clear does not carry the room for a handshake as long as it lives.
    match Box::pin(open_in_steps(stream, rules, watched, sends_header, &mut held)).await {
        Ok(opened) => {
            watched.conn.begin(!opened.early.is_empty());
            held.into_iter().for_each(|order| watched.repeat(order));
            Some(opened)
        }
        Err(failure) => {
            if let Some(kind) = failure.kind() {
                rules.registry.connection_failed(kind);
                tracing::debug!(client = %watched.conn.peer, kind, "A client connection was closed before its first request: {failure}.");
            }
            None
        }
    }
}

async fn open_in_steps(
    mut stream: Tcp,
    rules: &ConnRules,
    watched: &mut Watched,
    sends_header: bool,
    held: &mut Option<Order>,
) -> Result<Opened, Failure> {
    let mut early = BytesMut::new();
    if sends_header {
        let client = in_time(read_header(&mut stream, &mut early), watched, held, PROXY_HEADER).await?;
        if let Some(client) = client {
            watched.rename(client.to_canonical());
        }
    }
    let Some(tls) = &rules.tls else {
        let stream = Stream::Plain(Socket::new(stream, BytesMut::new(), watched.conn.clone()));
        return Ok(Opened { stream, early, is_http2: None });
    };
    let acceptor = TlsAcceptor::from(tls.config());
    let handshake = shake_hands(stream, early, acceptor, watched.conn.clone());
    let tls = in_time(handshake, watched, held, TLS_HANDSHAKE).await?;
    watched.conn.set_tls();
    let is_http2 = tls.get_ref().1.alpn_protocol().map(|agreed| agreed == b"h2");
    Ok(Opened { stream: Stream::Tls(Box::new(tls)), early: BytesMut::new(), is_http2 })
}

/// The step's outcome, unless the patrol says that time is over. What a shutdown orders meanwhile is held until HTTP
/// begins.
async fn in_time<T>(
    step: impl Future<Output = Result<T, Failure>>,
    watched: &Watched,
    held: &mut Option<Order>,
    kind: &'static str,
) -> Result<T, Failure> {
    let mut step = pin!(step);
    loop {
        match until_order(step.as_mut(), watched).await {
            Ok(outcome) => return outcome,
            Err(Order::Rest | Order::Look) => {}
            Err(order @ (Order::Announce | Order::Finish)) => *held = (*held).max(Some(order)),
            Err(Order::Expire | Order::Sever) => return Err(Failure::Late { kind }),
        }
    }
}

/// Takes the PROXY header off the front; what follows it stays in `early`. Says whose connection it is, if it does.
async fn read_header(stream: &mut Tcp, early: &mut BytesMut) -> Result<Option<IpAddr>, Failure> {
    loop {
        match stream.read_buf(early).await {
            Ok(0) if early.is_empty() => return Err(Failure::Left),
            Ok(0) => return Err(Failure::HeaderCut(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(Failure::HeaderCut(error)),
        }
        if let Header::Whole { bytes, client } = proxy_header::read(early)? {
            early.advance(bytes);
            return Ok(client);
        }
    }
}

async fn shake_hands(
    mut stream: Tcp,
    mut early: BytesMut,
    acceptor: TlsAcceptor,
    conn: Arc<ClientConn>,
) -> Result<TlsStream<Socket>, Failure> {
    if early.is_empty() {
        early.reserve(HELLO_BYTES);
        match stream.read_buf(&mut early).await {
            Ok(bytes) if bytes > 0 => {}
            Ok(_) | Err(_) => return Err(Failure::Left),
        }
    }
    // No method of HTTP begins otherwise, and no record of TLS so.
    if early.first().is_some_and(u8::is_ascii_uppercase) {
        refuse_plain(stream, conn).await;
        return Err(Failure::PlainHttp);
    }
    let socket = Socket::new(stream, early, conn.clone());
    acceptor.accept(socket).into_fallible().await.map_err(|(error, socket)| {
        // The alert says why; what the client has sent meanwhile must not turn it into a reset.
        conn.must_linger();
        drop(Downstream::new(Stream::Plain(socket), BytesMut::new(), conn, HeadLimits::NONE));
        Failure::Handshake(error)
    })
}

/// Tells somebody who forgot the `s` of `https`. Who has gone needs no telling.
async fn refuse_plain(stream: Tcp, conn: Arc<ClientConn>) {
    // The request is not read; without care the reset would overtake the answer.
    conn.must_linger();
    let stream = Stream::Plain(Socket::new(stream, BytesMut::new(), conn.clone()));
    let mut stream = Downstream::new(stream, BytesMut::new(), conn, HeadLimits::NONE);
    let _ = stream.write_all(PLAIN_REFUSED).await;
}

const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
content-length: 37\r\nx-verdigris-error: bad_request\r\n\r\nthis port speaks TLS; call https://\r\n";
/// Most clients' first message.
const HELLO_BYTES: usize = 2048;
