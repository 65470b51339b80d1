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
    ids::{EndpointId, ServiceName, Slot},
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
    let mut pause = first_pause(endpoint.id, settings.interval);
    loop {
        // On the heap, and only while it runs: a connection in the making is large, and thousands of probers wait.
        let result = Box::pin(probe(endpoint, settings)).await;
        let detail = result.detail.clone();
        let changed = endpoint.observe(result.ready, result.detail, Instant::now(), settings.rise, settings.fall);
        if let Some(health) = changed
            && !teller.tell(News::Health { health, detail }).await
        {
            return;
        }
        tokio::time::sleep(std::mem::replace(&mut pause, settings.interval)).await;
    }
}

/// The time between the first probe and the second. All endpoints of a file are first probed in the same instant; from
/// the second probe on they are spread evenly, lest thousands of connections be opened at once each time.
fn first_pause(id: EndpointId, interval: Duration) -> Duration {
    // Multiples of the golden ratio lie evenly on the unit circle, wherever the numbers begin and end.
    let turn = (id.0 as f64 * 0.618_033_988_749_895).fract();
    interval.mul_f64((1.0 + turn) / 2.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: endpoints of one file go on probing in the same instants, or one waits longer than the interval.
    #[test]
    fn the_second_probes_are_spread_evenly() {
        let interval = Duration::from_secs(2);
        for first in [1, 7_919] {
            let mut tenths = [0; 10];
            for id in first..first + 1_000 {
                let pause = first_pause(EndpointId(id), interval);
                assert!(pause >= interval / 2 && pause < interval, "{pause:?}");
                tenths[((pause - interval / 2).as_micros() / 100_000) as usize] += 1;
            }
            assert!(tenths.iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
        }
    }
}
