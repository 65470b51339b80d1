//! Waiting until a slot's new endpoints are ready, by what the proxy's own probes say of them. Asks no server anything.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::service_path;
use crate::{
    api::{EndpointHealth, EndpointStatus, ServiceStatus, SlotStatus},
    cli::{client::Answer, error::CliError, render, session::Session},
    ids::{ServiceName, Slot},
};

/// A slot to wait for.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    pub(super) deadline: Instant,
    /// Believe only probes that ended after this.
    pub(super) fresh_since: Option<Instant>,
}

impl Awaited {
    /// Looks until every endpoint is healthy; false if the time is over before. Looks once at least.
    pub(super) async fn ready(&self, session: &mut Session<'_>) -> Result<bool, CliError> {
        let path = service_path(&self.service);
        let mut told = String::new();
        loop {
            let asked = Instant::now();
            let answer: Answer<ServiceStatus> = session.client.look(&path, Duration::ZERO).await?;
            let slot = &answer.value.slots[self.slot];
            let ready = slot.endpoints.iter().filter(|endpoint| self.is_ready(endpoint)).count();
            if ready == slot.endpoints.len() {
                let endpoints = render::counted(ready as u64, "endpoint");
                session.progress(&format!("{}: ready: {endpoints}", self.slot));
                return Ok(true);
            }
            if asked >= self.deadline {
                return Ok(false);
            }
            self.tell(slot, ready, &mut told, session);
            sleep_until((asked + LOOK_AGAIN_AFTER).min(self.deadline)).await;
        }
    }

    fn is_ready(&self, endpoint: &EndpointStatus) -> bool {
        let fresh = self.fresh_since.is_none_or(|since| {
            endpoint.probed_ms_ago.is_some_and(|ago| u128::from(ago) < since.elapsed().as_millis())
        });
        endpoint.health == EndpointHealth::Healthy && fresh
    }

    /// `green: waiting for readiness: 1 of 2 endpoints; http://…: connection refused`, once for each state.
    fn tell(&self, slot: &SlotStatus, ready: usize, told: &mut String, session: &mut Session<'_>) {
        let mut text = format!("{}: waiting for readiness: {ready} of {} endpoints", self.slot, slot.endpoints.len());
        if let Some(unready) = slot.endpoints.iter().find(|endpoint| !self.is_ready(endpoint)) {
            let address = render::endpoint(unready.http.as_deref(), unready.grpc.as_deref());
            text.push_str(&format!("; {address}: {}", without_time(&unready.detail)));
        }
        if session.terminal.live.is_some() {
            session.live(&text);
        } else if *told != text {
            session.progress(&text);
            *told = text;
        }
    }
}

/// What was seen, without how long it took, which is another each time.
pub(super) fn without_time(seen: &str) -> &str {
    match seen.rsplit_once(" (") {
        Some((what, time)) if time.ends_with(" ms)") => what,
        _ => seen,
    }
}

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
