//! What holds where the file says nothing. `config/reference.toml` shows the same values; a test compares them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::settings::{
    BalancePolicy, BalanceSettings, EjectionSettings, GateSettings, GrpcProbe, HealthSettings, HttpProbe, Limits,
    PoolSettings, RetrySettings, ServiceLimits, ShutdownSettings, Timeouts,
};

pub(super) const PROXY_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
pub(super) const DEFER_ACCEPT: bool = true;
pub(super) const STATE_DIR: &str = "state";
pub(super) const LOG_FILTER: &str = "info";
pub(super) const REPLAY_BUFFER: usize = MIB;

pub(super) const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    body_timeout: Some(Duration::from_secs(60)),
    send_timeout: Some(Duration::from_secs(600)),
    header_bytes_max: 64 * KIB,
    headers_max: 100,
    streams_max: 200,
    // A gateway's clients give up in bursts: twice the streams that may be open can go at once, and again.
    resets_max: 500,
    connections_max: 10_000,
    replay_buffer_total: 256 * MIB,
};

pub(super) const SHUTDOWN: ShutdownSettings =
    ShutdownSettings { delay: Duration::ZERO, linger: Duration::from_secs(1), deadline: None };

/// The time-out lies above the seconds for which one large inference can hold a Python server's health route up.
pub(super) const HEALTH: HealthSettings = HealthSettings {
    http: HttpProbe::Connect,
    grpc: GrpcProbe::Connect,
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(5),
    rise: 1,
    fall: 3,
};

pub(super) const GATE: GateSettings = GateSettings {
    ready: 1,
    golden: None,
    contract: true,
    warm_up: Duration::from_secs(30),
    warm_up_requests: None,
    warm_up_concurrency: 8,
    timeout: Duration::from_secs(120),
};

/// Generous: a model may think for minutes before a token, and only what is dead is to be ended.
pub(super) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_byte: Some(Duration::from_secs(600)),
    idle: Some(Duration::from_secs(600)),
    request: None,
    tunnel_idle: Some(Duration::from_secs(3600)),
};

/// Below uvicorn's 5 s, so that the proxy is the one who closes.
pub(super) const POOL: PoolSettings =
    PoolSettings { idle_timeout: Duration::from_secs(4), idle_max: 1024, resolve_interval: Duration::from_secs(30) };

pub(super) const BALANCE: BalanceSettings =
    BalanceSettings { policy: BalancePolicy::PeakEwma, slow_start: Duration::from_secs(10) };

pub(super) const EJECTION: EjectionSettings = EjectionSettings {
    failures: Some(5),
    time: Duration::from_secs(10),
    time_max: Duration::from_secs(300),
    share_max: 50,
};

/// One more attempt helps against one bad endpoint; more would only multiply the load of a slot that is down.
pub(super) const RETRY: RetrySettings = RetrySettings {
    statuses: Vec::new(),
    attempts: 3,
    budget_percent: 20,
    try_timeout: None,
    wait: Duration::from_secs(3),
};
pub(super) const RETRY_STATUSES: [u16; 3] = [502, 503, 504];
pub(super) const HEALTH_STATUSES: [u16; 1] = [200];

pub(super) const SERVICE_LIMITS: ServiceLimits =
    ServiceLimits { concurrency: None, queue: 100, queue_timeout: Duration::from_secs(10) };

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
