//! Watches one endpoint for as long as it is wanted: probes it, keeps its names fresh, and tells what changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::AbortHandle};

use super::probe;
use crate::{
    api::EndpointHealth,
    config::settings::HealthSettings,
    ids::{ServiceName, Slot},
    upstream::Endpoint,
};

/// Something about an endpoint changed.
#[derive(Clone, Debug)]
pub struct EndpointNews {
    pub service: ServiceName,
    pub slot: Slot,
    pub endpoint: Arc<Endpoint>,
    pub news: News,
}

/// What changed.
#[derive(Clone, Debug)]
pub enum News {
    Health {
        health: EndpointHealth,
        detail: String,
    },
    /// Requests failed in a row: it is left out for so long.
    Ejected(Duration),
    /// The ejection is over.
    Returned,
}

/// What is done again and again.
#[derive(Clone, Debug)]
pub struct Rounds {
    pub health: HealthSettings,
    pub resolve_interval: Duration,
}

/// Watches an endpoint until it is dropped.
#[derive(Debug)]
pub struct Prober {
    task: AbortHandle,
}

/// Where news of one endpoint goes.
struct Teller {
    service: ServiceName,
    slot: Slot,
    endpoint: Arc<Endpoint>,
    to: mpsc::Sender<EndpointNews>,
}

impl Prober {
    /// Starts at once, then goes on at the interval. Must be called on a tokio runtime.
    pub fn start(
        service: ServiceName,
        slot: Slot,
        endpoint: Arc<Endpoint>,
        rounds: Rounds,
        to: mpsc::Sender<EndpointNews>,
    ) -> Self {
        let teller = Teller { service, slot, endpoint, to };
        let task = tokio::spawn(async move {
            let endpoint = &teller.endpoint;
            // None of them ends before nobody listens any more.
            tokio::select! {
                () = probe_again_and_again(&teller, &rounds.health) => {}
                () = tell_ejections(&teller) => {}
                () = endpoint.keep_names_fresh(rounds.resolve_interval) => {}
            }
        });
        Self { task: task.abort_handle() }
    }
}

async fn probe_again_and_again(teller: &Teller, settings: &HealthSettings) {
    let endpoint = &teller.endpoint;
    // Endpoints do not all probe in the same instant: the id spreads them over a tenth of the interval.
    let spread = settings.interval.mul_f64((endpoint.id.0 % 16) as f64 / 160.0);
    loop {
        let result = probe(endpoint, settings).await;
        let detail = result.detail.clone();
        let changed = endpoint.observe(result.ready, result.detail, Instant::now(), settings.rise, settings.fall);
        if let Some(health) = changed
            && !teller.tell(News::Health { health, detail }).await
        {
            return;
        }
        tokio::time::sleep(settings.interval + spread).await;
    }
}

async fn tell_ejections(teller: &Teller) {
    let endpoint = &teller.endpoint;
    loop {
        endpoint.ejection().begun().await;
        // One that a gate has ended already is not worth telling.
        let Some(time) = endpoint.ejected_for(Instant::now()) else { continue };
        if !teller.tell(News::Ejected(time)).await {
            return;
        }
        while let Some(left) = endpoint.ejected_for(Instant::now()) {
            // A proof may end it early, which may be told a little late.
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
        if !teller.tell(News::Returned).await {
            return;
        }
    }
}

impl Teller {
    /// False if nobody listens any more.
    async fn tell(&self, news: News) -> bool {
        let news =
            EndpointNews { service: self.service.clone(), slot: self.slot, endpoint: self.endpoint.clone(), news };
        self.to.send(news).await.is_ok()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}
