//! Connections that are opened before a switch, so that its first requests need not wait for them.

use std::{rc::Rc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{view::LocalSlot, worker::Worker};
use crate::upstream::{Ahead, ConnectError, LocalEndpoint, Opened};

/// Connections that one worker opens to one endpoint.
const CONNECTIONS_MAX: usize = 32;

/// Opens as many connections to the slot's endpoints as this worker has to those of the active slot, each to its part, and
/// at least one to each. They go into the pools that requests take them from after the switch. Endpoints that this
/// worker's table does not have are left out. Ends within `ahead.within`; what is open then stays.
pub(super) async fn connect_ahead(worker: &Rc<Worker>, ahead: &Ahead) -> Opened {
    let view = worker.views.current();
    let services = &view.table.services;
    let Some(index) = services.iter().position(|service| service.settings.name == ahead.service) else {
        return Opened::default();
    };
    let service = view.service(index);
    let (from, to) = (service.slot(service.service.active, &worker.views), service.slot(ahead.slot, &worker.views));
    let wanted = wanted(from, to);
    let mut opening = JoinSet::new();
    for local in to.endpoints.iter().filter(|local| ahead.endpoints.contains(&local.endpoint.id)) {
        for place in 0..local.pools().count() {
            let missing = local.pools().nth(place).map_or(0, |pool| pool.missing(wanted));
            for _ in 0..missing {
                let (local, within) = (local.clone(), ahead.within);
                opening.spawn_local(async move { open(&local, place, within).await });
            }
        }
    }
    let mut opened = Opened::default();
    while let Some(joined) = opening.join_next().await {
        match joined {
            Ok(None) => opened.connections += 1,
            Ok(Some(reason)) => {
                opened.failed += 1;
                opened.reason = opened.reason.or(Some(reason));
            }
            Err(_panicked) => opened.failed += 1,
        }
    }
    opened
}

/// Why it could not.
async fn open(local: &LocalEndpoint, place: usize, within: Duration) -> Option<String> {
    let pool = local.pools().nth(place)?;
    match timeout(within, pool.open_ahead()).await {
        Ok(result) => result.err().map(|error: ConnectError| error.to_string()),
        Err(_elapsed) => {
            Some(format!("{}: no connection within {}", local.endpoint.settings, humantime::format_duration(within)))
        }
    }
}

/// Connections to each endpoint of the slot that is to serve.
fn wanted(from: &LocalSlot, to: &LocalSlot) -> usize {
    let connections: usize = from.endpoints.iter().map(|local| local.connections()).sum();
    connections.div_ceil(to.endpoints.len().max(1)).clamp(1, CONNECTIONS_MAX)
}
