//! What every handler may reach.

use std::{fmt, future::Future, sync::Arc};

use tokio::sync::watch;

use super::admission::Admission;
use crate::{
    api::{Problem, ProblemKind},
    control::Handle,
    net::{Secret, tls::ServerTls},
};

/// Renders all metrics in Prometheus' text format, version 0.0.4.
pub type MetricsPage = Arc<dyn Fn() -> String + Send + Sync>;

/// What the admin API serves from.
pub struct State {
    pub handle: Handle,
    pub metrics: MetricsPage,
    /// The bearer token that callers must know; `None` lets everybody in who can connect.
    pub token: Option<Secret>,
    /// `None` speaks in clear. A unix socket always does.
    pub tls: Option<ServerTls>,
    /// Whoever has no token must show a certificate that `admin.tls.client_ca` signed.
    pub needs_certificate: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("token", &self.token).finish_non_exhaustive()
    }
}

/// One for the whole server.
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) metrics: MetricsPage,
    pub(super) admission: Admission,
    pub(super) stopping: Stopping,
}

/// Becomes true when the server begins to stop.
#[derive(Clone, Debug)]
pub(super) struct Stopping(pub(super) watch::Receiver<bool>);

impl Stopping {
    /// Returns when the server begins to stop. Cancel-safe.
    pub(super) async fn begun(&self) {
        // An error means that the sender is gone, and with it the server.
        let _ = self.0.clone().wait_for(|stopping| *stopping).await;
    }

    /// The work's outcome; or a problem, if the server begins to stop before there is one.
    pub(super) async fn cuts<T>(&self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = self.begun() => Err(Problem::new(
                ProblemKind::ShuttingDown,
                "the proxy began to shut down before there was an answer; what was asked for may have been done",
            )
            .hint("look at status and history when it is back")),
        }
    }
}
