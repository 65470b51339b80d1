//! Opens upstream connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
};

use crate::config::settings::{EndpointUrl, UpstreamAddress, UpstreamProtocol};
use crate::telemetry::FailureKind;

/// Why a connection was not to be had. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{url}: the name cannot be resolved: {source}")]
    Name { url: String, source: io::Error },
    #[error("{url}: {source}")]
    Io { url: String, source: io::Error },
    #[error("{url}: no connection within {}", humantime::format_duration(*.within))]
    Timeout { url: String, within: Duration },
    #[error("{url}: the HTTP handshake failed: {source}")]
    Handshake { url: String, source: hyper::Error },
    #[error("{url}: refused connections a moment ago, and another request finds out whether it is back")]
    Down { url: String },
}

impl ConnectError {
    /// The word for it.
    pub fn kind(&self) -> FailureKind {
        match self {
            ConnectError::Name { .. } => FailureKind::UpstreamName,
            ConnectError::Io { .. } | ConnectError::Handshake { .. } | ConnectError::Down { .. } => {
                FailureKind::UpstreamConnect
            }
            ConnectError::Timeout { .. } => FailureKind::UpstreamConnectTimeout,
        }
    }
}

/// An address of an endpoint, and how it is reached.
#[derive(Debug)]
pub struct Target {
    pub url: EndpointUrl,
    /// What HTTP/1.1 sends as `Host` when the client gave none, and HTTP/2 as `:authority`.
    pub authority: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Literal(SocketAddr),
    /// Resolved for each new connection; the last good answer serves on when the resolver fails.
    Name {
        host: String,
        port: u16,
        last_good: Mutex<Vec<SocketAddr>>,
    },
    Unix(PathBuf),
}

impl Target {
    pub fn new(url: &EndpointUrl) -> Self {
        let (place, authority) = match &url.address {
            UpstreamAddress::Unix(path) => (Place::Unix(path.clone()), "localhost".to_owned()),
            UpstreamAddress::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => (Place::Literal(SocketAddr::new(ip, *port)), SocketAddr::new(ip, *port).to_string()),
                Err(_) => (
                    Place::Name { host: host.clone(), port: *port, last_good: Mutex::default() },
                    format!("{host}:{port}"),
                ),
            },
        };
        Self { url: url.clone(), authority, place }
    }

    pub fn protocol(&self) -> UpstreamProtocol {
        self.url.protocol
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// As [`ConnectError`] says. Dropping the future gives the attempt up.
    pub async fn connect(&self, within: Duration) -> Result<UpstreamStream, ConnectError> {
        match tokio::time::timeout(within, self.open()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ConnectError::Timeout { url: self.url.to_string(), within }),
        }
    }

    async fn open(&self) -> Result<UpstreamStream, ConnectError> {
        let failed = |source| ConnectError::Io { url: self.url.to_string(), source };
        let stream = match &self.place {
            Place::Unix(path) => return UnixStream::connect(path).await.map(UpstreamStream::Unix).map_err(failed),
            Place::Literal(address) => TcpStream::connect(address).await.map_err(failed)?,
            Place::Name { host, port, last_good } => {
                let addresses = self.resolve(host, *port, last_good).await?;
                TcpStream::connect(&addresses[..]).await.map_err(failed)?
            }
        };
        stream.set_nodelay(true).map_err(failed)?;
        Ok(UpstreamStream::Tcp(stream))
    }

    async fn resolve(
        &self,
        host: &str,
        port: u16,
        last_good: &Mutex<Vec<SocketAddr>>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let failure = match lookup_host((host, port)).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                if !found.is_empty() {
                    last_good.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
                    return Ok(found);
                }
                io::Error::new(io::ErrorKind::NotFound, "the resolver gave no address")
            }
            Err(error) => error,
        };
        let known = last_good.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() {
            return Err(ConnectError::Name { url: self.url.to_string(), source: failure });
        }
        tracing::warn!(endpoint = %self.url, error = %failure, "Name resolution failed; the last good addresses are used.");
        Ok(known)
    }
}

/// A connected stream.
#[derive(Debug)]
pub enum UpstreamStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl UpstreamStream {
    /// Makes the close that follows a reset. On a Unix socket there is none; its peer sees the end.
    pub(super) fn cut(&self) {
        if let UpstreamStream::Tcp(stream) = self {
            // A socket that cannot be told so is closed in the ordinary way.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            UpstreamStream::Tcp($stream) => $call,
            UpstreamStream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            UpstreamStream::Tcp(stream) => stream.is_write_vectored(),
            UpstreamStream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
