//! A running proxy, as whoever started it sees it.

use std::{fmt, net::SocketAddr, path::PathBuf, thread};

use tokio::sync::watch;

use super::shutdown::Stop;
use crate::control::Handle;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The TOML file.
    pub config: PathBuf,
    /// React to SIGTERM, SIGINT and SIGHUP. Off for a proxy inside another program.
    pub signals: bool,
}

impl Options {
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), signals: false }
    }
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddr {
    Tcp(SocketAddr),
    /// The same over TLS.
    Tls(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddr::Tcp(address) => write!(f, "http://{address}"),
            AdminAddr::Tls(address) => write!(f, "https://{address}"),
            AdminAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a proxy came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    InOrder,
    /// Every worker had ended by a defect, and nobody could be served any more.
    WithoutWorkers,
    /// The control plane ended by a defect.
    WithoutControl,
}

/// A running proxy. Dropping it begins its shutdown and does not wait.
#[derive(Debug)]
pub struct Running {
    pub(super) proxy_addr: SocketAddr,
    pub(super) admin_addr: AdminAddr,
    pub(super) handle: Handle,
    pub(super) stop: watch::Sender<Stop>,
    pub(super) thread: Option<thread::JoinHandle<Ended>>,
}

impl Running {
    /// Where clients connect.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addr
    }

    /// Where the admin API listens.
    pub fn admin(&self) -> &AdminAddr {
        &self.admin_addr
    }

    /// The admin API's TCP address.
    ///
    /// # Panics
    /// If it listens on a unix socket.
    pub fn admin_addr(&self) -> SocketAddr {
        match self.admin_addr {
            AdminAddr::Tcp(address) | AdminAddr::Tls(address) => address,
            #[allow(clippy::panic, reason = "documented: the caller wrote the config")]
            AdminAddr::Unix(_) => panic!("admin.listen is a unix socket"),
        }
    }

    /// The control plane, without HTTP.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Finishes what runs and ends; returns at once.
    pub fn begin_shutdown(&self) {
        self.stop.send_replace(Stop::Gracefully);
    }

    /// Returns when the proxy has ended.
    pub fn join(mut self) -> Ended {
        // A panic in it has been reported by the panic hook.
        self.thread.take().map_or(Ended::InOrder, |thread| thread.join().unwrap_or(Ended::WithoutControl))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.send_replace(Stop::Now);
        }
    }
}
