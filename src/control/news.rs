//! What the watchers of endpoints tell: into the log, the events and the metrics.

use super::{clock, controller::Controller};
use crate::{
    api::{EndpointHealth, Event},
    upstream::health::{EndpointNews, News},
};

impl Controller {
    pub(super) fn endpoint_news(&self, news: EndpointNews) {
        let EndpointNews { service, slot, endpoint, news } = news;
        let (at, name) = (clock::now(), endpoint.settings.to_string());
        let event = match news {
            News::Health { health, detail } => {
                let healthy = health == EndpointHealth::Healthy;
                if healthy {
                    tracing::info!(%service, %slot, endpoint = name, %detail, "An endpoint is healthy.");
                } else {
                    tracing::warn!(%service, %slot, endpoint = name, %detail, "An endpoint is unhealthy.");
                }
                Event::Health { at, service, slot, endpoint: name, healthy, detail }
            }
            News::Ejected(time) => {
                let for_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%service, %slot, endpoint = name, for_ms, "Requests failed in a row: an endpoint is ejected.");
                self.around.registry.ejection(&service, slot);
                Event::Ejection { at, service, slot, endpoint: name, for_ms }
            }
            News::Returned => {
                tracing::info!(%service, %slot, endpoint = name, "An ejected endpoint is back.");
                Event::Ejection { at, service, slot, endpoint: name, for_ms: 0 }
            }
        };
        self.announce(event);
    }
}
