//! What holds where the file says nothing. `config/reference.toml` shows the same values; a test compares them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::settings::{GrpcProbe, HealthSettings, HttpProbe, Limits, PoolSettings, ShutdownSettings, Timeouts};

pub(super) const PROXY_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
pub(super) const STATE_DIR: &str = "state";
pub(super) const LOG_FILTER: &str = "info";
pub(super) const REPLAY_BUFFER: usize = MIB;

pub(super) const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    header_bytes_max: 64 * KIB,
    headers_max: 100,
    streams_max: 200,
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

pub(super) const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(2), first_byte: Some(Duration::from_secs(600)) };

/// Below uvicorn's 5 s, so that the proxy is the one who closes.
pub(super) const POOL: PoolSettings = PoolSettings { idle_timeout: Duration::from_secs(4), idle_max: 256 };

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
