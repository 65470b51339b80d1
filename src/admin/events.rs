//! Events as they happen, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State as Extracted,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Sent, KeepAlive},
    },
};
use futures_util::stream;
use tokio::sync::{broadcast, watch};

use super::serve::Shared;
use crate::api::Event;

/// Silence is filled with a comment, so that proxies in between keep the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes, health, drains and reloads from here on. The stream ends when the proxy shuts down.
#[utoipa::path(get, path = "/v1/events", tag = "services", responses(
    (status = 200, description = "Server-sent events; an event's name is its `kind`, its data this object.", body = Event, content_type = "text/event-stream"),
))]
pub(super) async fn events(Extracted(shared): Extracted<Shared>) -> Response {
    let state = (shared.handle.events(), shared.stopping.clone());
    let stream = stream::unfold(state, |(mut events, mut stopping)| async {
        let sent = next(&mut events, &mut stopping).await?;
        Some((Ok::<_, Infallible>(sent), (events, stopping)))
    });
    let sse = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([("x-accel-buffering", "no")], sse).into_response()
}

async fn next(events: &mut broadcast::Receiver<Event>, stopping: &mut watch::Receiver<bool>) -> Option<Sent> {
    let received = tokio::select! {
        received = events.recv() => received,
        _ = stopping.wait_for(|stop| *stop) => return None,
    };
    match received {
        Ok(event) => Some(Sent::default().event(event.kind()).json_data(&event).unwrap_or_default()),
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            Some(Sent::default().event("missed").data(missed.to_string()))
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}
