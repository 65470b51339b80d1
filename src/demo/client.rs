//! One keep-alive client connection, which notices when the other side closes it.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there was no answer, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no connection to {addr}")]
    Connect {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
}

/// A client with at most one connection, opened when it is needed and kept.
#[derive(Debug)]
pub(super) struct Client {
    addr: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    lost: u64,
}

impl Client {
    /// A client of this address; connects with the first request.
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { addr, connection: None, lost: 0 }
    }

    /// Sends a request and reads the head of its answer. Cancelling it, or dropping the body it returns before its
    /// end, closes the connection from this side, which is not counted as a loss.
    ///
    /// # Errors
    /// If no connection could be opened, or the connection failed after the request began to be written.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let mut sender = self.ready().await?;
        // Taken out of `self` meanwhile, so that a cancelled or failed exchange leaves no half-used connection behind.
        let answer = sender.send_request(request).await.inspect_err(|_| self.lost += 1)?;
        self.connection = Some(sender);
        Ok(answer)
    }

    /// Forgets the connection after its answer's body broke off, and counts the loss.
    pub(super) fn broke(&mut self) {
        self.connection = None;
        self.lost += 1;
    }

    /// Closes the connection from this side.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Established connections that the other side has closed since this was last asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        if self.connection.as_ref().is_some_and(SendRequest::is_closed) {
            self.broke();
        }
        std::mem::take(&mut self.lost)
    }

    /// A connection seen closed before anything was written costs no request, but is counted as lost.
    async fn ready(&mut self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        if let Some(mut kept) = self.connection.take() {
            match kept.ready().await {
                Ok(()) => return Ok(kept),
                Err(_closed) => self.lost += 1,
            }
        }
        let mut fresh = connect(self.addr).await?;
        fresh.ready().await?;
        Ok(fresh)
    }
}

/// A `POST` of JSON, or a `GET` if there is no body, in origin form as HTTP/1.1 wants it.
pub(super) fn request(addr: SocketAddr, path: &str, json: Option<String>) -> Result<Request<Full<Bytes>>, http::Error> {
    let method = if json.is_some() { "POST" } else { "GET" };
    let host = HeaderValue::try_from(addr.to_string())?;
    let mut request = Request::builder().method(method).uri(path).header(HOST, host);
    if json.is_some() {
        request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request.body(Full::from(json.unwrap_or_default()))
}

/// The connection's task ends when the sender is dropped or the other side closes.
async fn connect(addr: SocketAddr) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let stream = TcpStream::connect(addr).await.map_err(|source| ClientError::Connect { addr, source })?;
    let _latency_only = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error reaches whoever waits for an answer; without one there is nobody to tell.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
