//! Probes one endpoint for as long as it is wanted.

use std::{sync::Arc, time::Instant};

use tokio::{sync::mpsc, task::AbortHandle};

use super::probe;
use crate::{
    api::EndpointHealth,
    config::settings::HealthSettings,
    ids::{ServiceName, Slot},
    upstream::Endpoint,
};

/// An endpoint's health changed.
#[derive(Clone, Debug)]
pub struct HealthChanged {
    pub service: ServiceName,
    pub slot: Slot,
    pub endpoint: Arc<Endpoint>,
    pub health: EndpointHealth,
    pub detail: String,
}

/// Probes an endpoint until it is dropped.
#[derive(Debug)]
pub struct Prober {
    task: AbortHandle,
}

impl Prober {
    /// Starts at once, then goes on at the interval. Must be called on a tokio runtime.
    pub fn start(
        service: ServiceName,
        slot: Slot,
        endpoint: Arc<Endpoint>,
        settings: HealthSettings,
        changes: mpsc::Sender<HealthChanged>,
    ) -> Self {
        let task = tokio::spawn(async move {
            // Endpoints do not all probe in the same instant: the id spreads them over a tenth of the interval.
            let spread = settings.interval.mul_f64((endpoint.id.0 % 16) as f64 / 160.0);
            loop {
                let result = probe(&endpoint, &settings).await;
                let detail = result.detail.clone();
                let changed =
                    endpoint.observe(result.ready, result.detail, Instant::now(), settings.rise, settings.fall);
                if let Some(health) = changed {
                    let change =
                        HealthChanged { service: service.clone(), slot, endpoint: endpoint.clone(), health, detail };
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(settings.interval + spread).await;
            }
        });
        Self { task: task.abort_handle() }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}
