//! Settings: what the file *means*, typed and complete. Every default is already filled in; nothing here can be wrong.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

mod service;

pub use service::*;

/// A whole configuration file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub proxy: ProxySettings,
    pub admin: AdminSettings,
    /// Where state and journal live; already joined with the config file's directory.
    pub state_dir: PathBuf,
    pub log: LogSettings,
    /// In the order of the file. Names are unique; no rule shadows another.
    pub services: Vec<Arc<ServiceSettings>>,
}

/// `[proxy]`: the side clients see. A change of `listen`, `workers` or `defer_accept` needs a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySettings {
    pub listen: SocketAddr,
    /// Worker threads; `0` in the file is one per core and already resolved here.
    pub workers: usize,
    /// Clients are accepted when they ask, where the system can do it.
    pub defer_accept: bool,
    /// Peers whose word about the client is taken: `X-Forwarded-*` and `Forwarded`.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers whose connections begin with a PROXY header, version 1 or 2.
    pub proxy_protocol: Vec<IpNet>,
    /// `None`: clients speak in clear.
    pub tls: Option<TlsSettings>,
    pub limits: Limits,
    pub shutdown: ShutdownSettings,
    pub access_log: AccessLog,
}

/// What of [`ProxySettings`] workers follow while they run: for new connections, and from the next tick on.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientRules {
    pub limits: Limits,
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: Vec<IpNet>,
}

impl ProxySettings {
    pub fn client_rules(&self) -> ClientRules {
        ClientRules {
            limits: self.limits.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol.clone(),
        }
    }

    /// These settings, with what of `new` is followed without a restart.
    #[must_use]
    pub fn with_live(self, new: &Self) -> Self {
        let ClientRules { limits, trusted_proxies, proxy_protocol } = new.client_rules();
        Self { limits, trusted_proxies, proxy_protocol, tls: followed(self.tls, new.tls.as_ref()), ..self }
    }
}

/// `[proxy.limits]`: bounds on what one client may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// How long a client connection may stay without a request.
    pub idle_timeout: Duration,
    /// How long the next byte of a request body may be awaited; `None` waits as long as the client stays.
    pub body_timeout: Option<Duration>,
    /// How long a client may take nothing of what waits for it; `None` waits as long as it stays.
    pub send_timeout: Option<Duration>,
    /// Bytes of a request head, request line included.
    pub header_bytes_max: usize,
    /// Number of header fields.
    pub headers_max: usize,
    /// Concurrent HTTP/2 streams a client connection may open.
    pub streams_max: u32,
    /// HTTP/2 streams that a client may reset in ten seconds on one connection.
    pub resets_max: u32,
    /// Client connections in all.
    pub connections_max: usize,
    /// Bytes that all replay buffers of the process may hold together; past it requests go on without replay.
    pub replay_buffer_total: usize,
}

/// `[proxy.tls]`, `[admin.tls]`: files that are read at start and again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The first serves clients that ask for no name, or for one that no certificate has.
    pub certificates: Vec<KeyPairFiles>,
    pub client_auth: Option<ClientAuth>,
}

impl TlsSettings {
    /// True if nobody gets through without a certificate that `client_ca` signed.
    pub fn knows_clients(&self) -> bool {
        self.client_auth.as_ref().is_some_and(|auth| auth.required)
    }
}

/// A certificate chain and its private key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPairFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Client certificates: who signs them, and whether one can do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    pub ca: PathBuf,
    pub required: bool,
}

/// `[proxy.shutdown]`: what SIGTERM does.
#[derive(Clone, Debug, PartialEq)]
pub struct ShutdownSettings {
    /// Keep accepting for this long after `/ready` turned 503, for the load balancer in front to notice.
    pub delay: Duration,
    /// How long an idle client connection is still read before it is closed.
    pub linger: Duration,
    /// Cut what still runs after this long; `None` waits until it is empty.
    pub deadline: Option<Duration>,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Stdout,
    File(PathBuf),
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    pub listen: AdminListen,
    /// The bearer token's file; required where `listen` is not loopback. The token itself is read at start.
    pub token_file: Option<PathBuf>,
    pub tls: Option<TlsSettings>,
}

impl AdminSettings {
    /// These settings, with what of `new` is followed without a restart.
    #[must_use]
    pub fn with_live(self, new: &Self) -> Self {
        Self { tls: followed(self.tls, new.tls.as_ref()), ..self }
    }
}

/// A listener goes on speaking TLS, or in clear; with which files may change.
fn followed(running: Option<TlsSettings>, new: Option<&TlsSettings>) -> Option<TlsSettings> {
    running.map(|running| new.cloned().unwrap_or(running))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    Tcp(SocketAddr),
    /// A unix socket, mode 0600.
    Unix(PathBuf),
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminListen::Tcp(addr) => write!(f, "http://{addr}"),
            AdminListen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `verdigris=debug`, …
    pub filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
