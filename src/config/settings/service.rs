//! What the file says of one service.

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};

use super::KeyPairFiles;
use crate::{
    config::preview::PreviewSettings,
    ids::{PerSlot, ServiceName, Slot},
};

/// One `[[service]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub name: ServiceName,
    pub rule: MatchRule,
    /// The slot the *file* names; the recorded state may say another (DESIGN: who wins).
    pub active: Slot,
    pub replay: ReplayPolicy,
    /// Bytes of a request body kept for a replay; a longer body is sent without the chance of one.
    pub replay_buffer: usize,
    /// A slot without endpoints is an empty one. The slot named `active` is never empty.
    pub slots: PerSlot<SlotSettings>,
    pub health: HealthSettings,
    pub gate: GateSettings,
    pub timeouts: Timeouts,
    pub pool: PoolSettings,
    pub balance: BalanceSettings,
    pub ejection: EjectionSettings,
    pub retry: RetrySettings,
    pub limits: ServiceLimits,
    pub tls: UpstreamTls,
    pub request: RequestRules,
    /// What is changed in the fields of an answer.
    pub answer: HeaderEdits,
    pub drain: DrainSettings,
    /// `None`: nobody chooses a slot.
    pub preview: Option<PreviewSettings>,
}

/// Which requests are this service's. All parts that are given must hold; a rule without parts takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MatchRule {
    /// Lower case, without port. `*.example.org` takes any one or more labels in its place.
    pub host: Option<String>,
    /// Starts with `/`. Matches whole segments: `/v2/models/iris` takes `/v2/models/iris`, `/v2/models/iris/infer`
    /// and `/v2/models/iris:predict`, never `/v2/models/iris2`.
    pub path_prefix: Option<String>,
    /// Exact values; names in lower case; sorted by name.
    pub headers: Vec<(String, String)>,
}

/// What stands in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSettings {
    pub endpoints: Vec<EndpointSettings>,
    /// The operator's name for what runs there; shown in `x-verdigris-version`, metrics and history.
    pub version: Option<String>,
}

/// One replica: at least one of the two addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSettings {
    /// Takes everything that is not gRPC (and gRPC too, if it is `h2c://` and `grpc` is not given).
    pub http: Option<EndpointUrl>,
    /// Takes gRPC; always HTTP/2.
    pub grpc: Option<EndpointUrl>,
}

impl fmt::Display for EndpointSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.http, &self.grpc) {
            (Some(http), Some(grpc)) => write!(f, "{http} + {grpc}"),
            (Some(one), None) | (None, Some(one)) => one.fmt(f),
            (None, None) => f.write_str("(no address)"),
        }
    }
}

/// An upstream address: `http://HOST[:PORT]`, `h2c://HOST[:PORT]` or `unix:PATH`; with TLS `https://HOST[:PORT]` or
/// `grpcs://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointUrl {
    pub protocol: UpstreamProtocol,
    /// With TLS, as `[service.tls]` says; HTTP/2 is then agreed upon by ALPN. Never on a unix socket.
    pub tls: bool,
    pub address: UpstreamAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamProtocol {
    Http1,
    /// HTTP/2: in clear by prior knowledge (RFC 9113 section 3.3), with TLS by ALPN (section 3.2).
    H2c,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamAddress {
    /// A name or an IP address (IPv6 without brackets), and a port.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.tls) {
            (UpstreamProtocol::Http1, false) => "http",
            (UpstreamProtocol::Http1, true) => "https",
            (UpstreamProtocol::H2c, false) => "h2c",
            (UpstreamProtocol::H2c, true) => "grpcs",
        };
        match &self.address {
            UpstreamAddress::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            UpstreamAddress::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
            UpstreamAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What may be sent again on a fresh connection after one died before the first byte of an answer.
/// A request of which nothing was written is always sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayPolicy {
    /// Idempotent methods, requests with `Idempotency-Key`, and POSTs to known pure inference paths.
    Inference,
    /// Any method, but only if the connection was a *reused* one.
    Reused,
    /// Idempotent methods (RFC 9110 section 9.2.2) and requests with `Idempotency-Key`.
    Idempotent,
    Never,
}

/// `[service.health]`: how the readiness of an endpoint is asked for, on a new connection each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    pub http: HttpProbe,
    pub grpc: GrpcProbe,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row before an endpoint counts as healthy.
    pub rise: u32,
    /// Failures in a row before a healthy endpoint counts as unhealthy.
    pub fall: u32,
}

/// `[service.gate]`: what a slot must pass before a switch to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// Good readiness answers in a row, of every endpoint.
    pub ready: u32,
    /// The file of golden requests; already joined with the config file's directory.
    pub golden: Option<PathBuf>,
    /// What the active slot says of its models must stay.
    pub contract: bool,
    /// For the warm-up, as far as `timeout` lets it; zero: none.
    pub warm_up: Duration,
    /// The file of what is sent to warm up, if not the golden one; already joined with the config file's directory.
    pub warm_up_requests: Option<PathBuf>,
    /// Requests of the warm-up at once to one endpoint.
    pub warm_up_concurrency: u32,
    /// For all steps together.
    pub timeout: Duration,
}

impl GateSettings {
    /// The files that it names, which are read with the config file.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.golden.iter().chain(&self.warm_up_requests)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpProbe {
    /// No `path` given: only a TCP connect, which proves little; `check` says so.
    Connect,
    /// `GET` this path; only these statuses are ready.
    Get { path: String, statuses: Vec<u16> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcProbe {
    /// Only a TCP connect.
    Connect,
    /// `inference.GRPCInferenceService/ServerReady` of the Open Inference Protocol.
    V2,
    /// `grpc.health.v1.Health/Check`.
    Health,
}

/// `[service.timeouts]`. None of them cuts a stream that flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the end of the request to the first byte of the answer; `None` waits as long as the client does.
    pub first_byte: Option<Duration>,
    /// Between two parts of an answer; `None` waits as long as the client does.
    pub idle: Option<Duration>,
    /// For a whole request whose answer is not a stream, from its head to its last byte.
    pub request: Option<Duration>,
    /// How long nothing may pass through an upgraded connection, either way.
    pub tunnel_idle: Option<Duration>,
}

/// `[service.pool]`: idle upstream connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Below the server's own idle time: uvicorn closes at 5 s.
    pub idle_timeout: Duration,
    /// Idle connections kept per endpoint and worker.
    pub idle_max: usize,
    /// How often names are resolved anew.
    pub resolve_interval: Duration,
}

/// `[service.balance]`: which endpoint of the slot takes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceSettings {
    pub policy: BalancePolicy,
    /// How long an endpoint that has just become healthy gets less than its share; zero: not at all.
    pub slow_start: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancePolicy {
    /// Of two drawn at random, the one where less time is expected: requests there × the peak of their latency.
    PeakEwma,
    /// Of two drawn at random, the one with fewer requests.
    LeastInFlight,
    RoundRobin,
}

/// `[service.ejection]`: an endpoint that fails requests in a row is left out for a while, whatever its probes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failures in a row; `None` never ejects.
    pub failures: Option<u32>,
    /// The first time; doubled for each further one.
    pub time: Duration,
    pub time_max: Duration,
    /// Percent of a slot's endpoints that may be out at once.
    pub share_max: u32,
}

/// `[service.retry]`: another endpoint may do what the first could not. Never after an answer was passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Answers that are taken for "ask another one", of requests that `replay` lets be sent again.
    pub statuses: Vec<u16>,
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// Retries for each hundred requests, beside a few a second that are always allowed.
    pub budget_percent: u32,
    /// For the head of an answer while another attempt is permitted.
    pub try_timeout: Option<Duration>,
    /// How long after the first refused connection requests wait for an endpoint to come back.
    pub wait: Duration,
}

/// `[service.limits]`: what the slot's servers are given to do at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Requests at once, over all workers; `None`: as many as come.
    pub concurrency: Option<u32>,
    /// Requests that may wait for their turn.
    pub queue: u32,
    pub queue_timeout: Duration,
}

/// `[service.tls]`: how `https://` and `grpcs://` endpoints are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Who signs their certificates; `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// The name their certificate must have; `None`: the endpoint's host.
    pub server_name: Option<String>,
    /// What the proxy shows them of itself.
    pub identity: Option<KeyPairFiles>,
}

/// `[service.request]`: what is changed in a request on its way to the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestRules {
    /// Sent instead of the client's `Host`.
    pub host: Option<HeaderValue>,
    /// Taken off the beginning of the path, in whole segments.
    pub strip_prefix: Option<String>,
    /// Bytes of a request body; `None`: any number.
    pub body_max: Option<u64>,
    pub headers: HeaderEdits,
}

/// Changes of header fields: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl RequestRules {
    /// True if heads of requests pass as they are.
    pub fn keep_heads(&self) -> bool {
        self.host.is_none() && self.strip_prefix.is_none() && self.headers.is_empty()
    }
}

impl HeaderEdits {
    /// True if nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// `[service.drain]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainSettings {
    /// Cut what still runs on a slot this long after it began to drain; `None` never cuts.
    pub cut_after: Option<Duration>,
}
