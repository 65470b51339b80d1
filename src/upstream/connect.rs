//! Opens upstream connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};

use super::{
    UpstreamStream,
    names::{Names, Resolve, SystemResolver},
    tls::{Connector, TlsClient},
};
use crate::{
    config::settings::{EndpointUrl, UpstreamAddress, UpstreamProtocol},
    telemetry::FailureKind,
};

/// Why a connection was not to be had. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{url}: the name cannot be resolved: {source}")]
    Name { url: String, source: io::Error },
    #[error("{url}: {source}")]
    Io { url: String, source: io::Error },
    #[error("{url}: no {what} within {}", humantime::format_duration(*.within))]
    Timeout { url: String, what: &'static str, within: Duration },
    #[error("{url}: the HTTP handshake failed: {source}")]
    Handshake { url: String, source: hyper::Error },
    #[error("{url}: no TLS: {why}")]
    Tls { url: String, why: String },
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
            ConnectError::Tls { .. } => FailureKind::UpstreamTls,
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
    tls: Option<Connector>,
    /// An answer from here left its connection open.
    keeps_connections: AtomicBool,
}

#[derive(Debug)]
enum Place {
    Literal(SocketAddr),
    Name(Names),
    Unix(PathBuf),
}

impl Target {
    pub(super) fn new(url: &EndpointUrl, tls: &TlsClient) -> Self {
        Self::resolved_by(url, tls, Arc::new(SystemResolver))
    }

    /// A target whose name, if it has one, is looked up by `resolver`.
    pub(super) fn resolved_by(url: &EndpointUrl, tls: &TlsClient, resolver: Arc<dyn Resolve>) -> Self {
        let (place, authority) = match &url.address {
            UpstreamAddress::Unix(path) => (Place::Unix(path.clone()), "localhost".to_owned()),
            UpstreamAddress::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => (Place::Literal(SocketAddr::new(ip, *port)), SocketAddr::new(ip, *port).to_string()),
                Err(_) => (Place::Name(Names::new(host, *port, resolver)), format!("{host}:{port}")),
            },
        };
        let host = match &url.address {
            UpstreamAddress::Tcp { host, .. } if url.tls => Some(host),
            UpstreamAddress::Tcp { .. } | UpstreamAddress::Unix(_) => None,
        };
        let tls = host.map(|host| tls.connector(host, url.protocol));
        Self { url: url.clone(), authority, place, tls, keeps_connections: AtomicBool::new(false) }
    }

    /// Takes in whether an answer left its connection open (RFC 9112 section 9.3). Refusals and errors do not count: they
    /// may be closed where others are not, or come from something in front of the server.
    pub fn note_answer(&self, head: &http::Response<impl Sized>) {
        if !head.status().is_success() {
            return;
        }
        let closes = head.headers().get_all(http::header::CONNECTION).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
        });
        self.keeps_connections.store(head.version() >= http::Version::HTTP_11 && !closes, Relaxed);
    }

    /// False until an answer has shown it. A server that closes after each answer often takes one connection at a time, and
    /// waits on it: an unused one would keep all others out.
    pub fn keeps_connections(&self) -> bool {
        self.keeps_connections.load(Relaxed)
    }

    pub fn protocol(&self) -> UpstreamProtocol {
        self.url.protocol
    }

    /// What HTTP/2 sends as `:scheme`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Opens a connection, TLS handshake included.
    ///
    /// # Errors
    /// As [`ConnectError`] says. Dropping the future gives the attempt up.
    pub async fn connect(&self, within: Duration) -> Result<UpstreamStream, ConnectError> {
        let until = Instant::now() + within;
        let late = |what| ConnectError::Timeout { url: self.url.to_string(), what, within };
        let stream = match timeout_at(until, self.open(until)).await {
            Ok(stream) => stream?,
            Err(_elapsed) => return Err(late("connection")),
        };
        match (stream, &self.tls) {
            (UpstreamStream::Tcp(stream), Some(tls)) => match timeout_at(until, tls.connect(stream)).await {
                Ok(Ok(stream)) => Ok(UpstreamStream::Tls(Box::new(stream))),
                Ok(Err(why)) => Err(ConnectError::Tls { url: self.url.to_string(), why }),
                Err(_elapsed) => Err(late("TLS handshake")),
            },
            (stream, _) => Ok(stream),
        }
    }

    /// In clear.
    async fn open(&self, until: Instant) -> Result<UpstreamStream, ConnectError> {
        let failed = |source| ConnectError::Io { url: self.url.to_string(), source };
        let stream = match &self.place {
            Place::Unix(path) => return UnixStream::connect(path).await.map(UpstreamStream::Unix).map_err(failed),
            Place::Literal(address) => TcpStream::connect(address).await.map_err(failed)?,
            Place::Name(names) => self.connect_to_one(names, until).await?,
        };
        stream.set_nodelay(true).map_err(failed)?;
        Ok(UpstreamStream::Tcp(stream))
    }

    /// Tries one address after the other; each gets its part of the time that is left.
    async fn connect_to_one(&self, names: &Names, until: Instant) -> Result<TcpStream, ConnectError> {
        let url = || self.url.to_string();
        let (known, order) = names.addresses().await.map_err(|source| ConnectError::Name { url: url(), source })?;
        let mut failure = io::Error::new(io::ErrorKind::TimedOut, "no address answered in time");
        for (tried, address) in order.iter().map(|index| &known[*index]).enumerate() {
            let left = until.saturating_duration_since(Instant::now()) / (order.len() - tried) as u32;
            let connected = timeout(left, TcpStream::connect(address.at)).await;
            address.note(matches!(connected, Ok(Ok(_))));
            match connected {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_elapsed) => {}
            }
            names.doubt();
        }
        Err(ConnectError::Io { url: url(), source: failure })
    }

    /// Resolves its name again and again, off the path of requests; never returns. An address without a name has
    /// nothing to do.
    pub(super) async fn keep_fresh(&self, interval: Duration) {
        match &self.place {
            Place::Name(names) => names.keep_fresh(interval).await,
            Place::Literal(_) | Place::Unix(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::names::tests::Fake;
    use tokio::net::TcpListener;

    const WITHIN: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_name_with_several_addresses_spreads_and_a_dead_one_is_passed_over() {
        let listeners =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let ports: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap().port()).collect();
        let fake = Arc::new(Fake::default());
        fake.say(&ports);
        let url = "http://models.test:1".parse().unwrap();
        let target = Target::resolved_by(&url, &TlsClient::plain(), fake.clone());
        let mut reached = Vec::new();
        for _ in 0..4 {
            let UpstreamStream::Tcp(stream) = target.connect(WITHIN).await.unwrap() else { panic!("not TCP") };
            reached.push(stream.peer_addr().unwrap().port());
        }
        assert_eq!(reached, [ports[0], ports[1], ports[0], ports[1]]);
        let [first, _second] = listeners;
        drop(first);
        for _ in 0..4 {
            let UpstreamStream::Tcp(stream) = target.connect(WITHIN).await.unwrap() else { panic!("not TCP") };
            assert_eq!(stream.peer_addr().unwrap().port(), ports[1]);
        }
        assert_eq!(fake.asked.load(Relaxed), 1, "no request but the first waits for the resolver");
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_told_as_such() {
        let url = "http://models.test:1".parse().unwrap();
        let target = Target::resolved_by(&url, &TlsClient::plain(), Arc::new(Fake::default()));
        assert_eq!(target.connect(WITHIN).await.unwrap_err().kind(), FailureKind::UpstreamName);
    }

    /// Fails when: a server that closes after each answer is taken for one that keeps connections, or the other way round.
    #[test]
    fn answers_show_whether_a_server_keeps_connections() {
        use http::{Response, Version};
        for (version, field, keeps) in [
            (Version::HTTP_11, "", true),
            (Version::HTTP_11, "keep-alive", true),
            (Version::HTTP_11, "x, Close", false),
            (Version::HTTP_10, "", false),
            (Version::HTTP_2, "", true),
        ] {
            let target = Target::new(&"http://127.0.0.1:1".parse().unwrap(), &TlsClient::plain());
            assert!(!target.keeps_connections(), "nothing is known yet");
            target.note_answer(&Response::builder().version(version).header("connection", field).body(()).unwrap());
            assert_eq!(target.keeps_connections(), keeps, "{version:?} {field}");
            let other = if keeps { "close" } else { "keep-alive" };
            target.note_answer(&Response::builder().status(404).header("connection", other).body(()).unwrap());
            assert_eq!(target.keeps_connections(), keeps, "a refusal says nothing");
        }
    }
}
