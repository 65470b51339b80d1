//! A door for `benches/`: steps of a request that this room keeps to itself, without a connection. Nobody else comes in
//! here, and nothing in here is a promise.

use std::{rc::Rc, sync::Arc, time::Instant};

use http::{HeaderMap, Version, request::Parts};

use super::{
    assign::assign,
    headers::{self, Seen},
    worker::{Worker, WorkerOptions},
};
use crate::{
    config::settings::{ClientRules, HeaderEdits},
    shadow::Taps,
    table::Reader,
    telemetry::Registry,
};

/// A worker that serves nobody.
#[derive(Debug)]
pub struct Desk {
    worker: Rc<Worker>,
}

impl Desk {
    pub fn new(clients: ClientRules, reader: Reader, registry: Registry) -> Self {
        let clients = Arc::new(clients);
        let options = WorkerOptions {
            index: 0,
            workers: 1,
            clients,
            tls: None,
            registry,
            access: None,
            taps: Taps::default().reader(),
        };
        Self { worker: Worker::new(options, reader, Arc::default()) }
    }

    /// Finds the service, takes a lease on its active slot and gives it back. False if no service takes the request.
    pub fn assign(&self, head: &Parts) -> bool {
        assign(&self.worker, head, Instant::now(), |_| Ok(None)).is_ok()
    }
}

/// What happens to the fields of each request, but for those that tell of the client.
pub fn pass_on(fields: &mut HeaderMap, edits: &HeaderEdits) {
    let seen = Seen::of(fields);
    headers::end_hop(fields, seen);
    headers::add_via(fields, Version::HTTP_11);
    headers::edit(fields, edits);
}
