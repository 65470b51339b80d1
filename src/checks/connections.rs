//! The last step before a switch: every worker opens connections to what is about to serve. It never fails a gate.

use std::time::{Duration, Instant};

use tokio::time::{Instant as Deadline, timeout};

use super::gate::{Demand, Finding, Gate, millis};
use crate::{
    ids::{ServiceName, Slot},
    upstream::{Ahead, Workers},
};

/// Who connects, and for what.
#[derive(Clone, Debug)]
pub struct Connect {
    pub workers: Workers,
    pub service: ServiceName,
    pub slot: Slot,
}

/// Has the workers connect to the gate's endpoints, and waits for them: at most two seconds, or 300 ms for a rollback,
/// and never beyond `until`.
pub(super) async fn connections(gate: &Gate, connect: &Connect, until: Deadline) -> Finding {
    let most = if gate.demand == Demand::OneLive { ROLLBACK_WITHIN } else { WITHIN };
    let left = until.saturating_duration_since(Deadline::now()).saturating_sub(REPLY_SPARE * 2);
    let within = gate.settings.timeouts.connect.min(most).min(left);
    if within.is_zero() {
        return Finding::skipped("the time of service.gate.timeout was over");
    }
    let ahead = Ahead {
        service: connect.service.clone(),
        slot: connect.slot,
        endpoints: gate.endpoints.iter().map(|endpoint| endpoint.id).collect(),
        within,
    };
    let started = Instant::now();
    let Ok(opened) = timeout(within + REPLY_SPARE, connect.workers.connect(ahead)).await else {
        return Finding::skipped(format!("the workers were too busy for {}", humantime::format_duration(within)));
    };
    let failed = opened.reason.map(|reason| format!("{} could not be opened: {reason}", opened.failed));
    match (opened.connections, failed) {
        (0, None) => Finding::skipped(
            "nothing to open: there are enough, none are kept, the server was not seen keeping one, or the workers do not know the endpoints yet",
        ),
        (0, Some(failed)) => Finding::skipped(failed),
        (count, failed) => {
            let (workers, took) = (connect.workers.len(), millis(started.elapsed()));
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let mut evidence = vec![format!(
                "{count} connection{} opened by {workers} worker{} in {took} ms",
                plural(count),
                plural(workers)
            )];
            evidence.extend(failed);
            Finding::of(true, evidence)
        }
    }
}

/// Opening connections is a courtesy: a switch does not wait for it any longer.
const WITHIN: Duration = Duration::from_secs(2);
/// A rollback has to be instant.
const ROLLBACK_WITHIN: Duration = Duration::from_millis(300);
/// For the workers' replies to come in.
const REPLY_SPARE: Duration = Duration::from_millis(50);
