//! Events as they happen, as server-sent events.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    frames::Frames,
    shared::{Shared, Stopping},
};
use crate::api::Event;

/// Events from here on. Each has a name, the `kind`, and one line of JSON. A reader that is too slow gets an event
/// `lagged` with the number it missed, and should read the services again. The stream ends when the proxy stops.
#[utoipa::path(
    get, path = "/v1/events", tag = "status",
    responses((status = 200, description = "A stream without end; also served at `/events`.", body = Event, content_type = "text/event-stream")),
)]
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    // Subscribed before the answer's head is sent: what happens after the caller sees it is in the stream.
    let events = shared.handle.events();
    let (frames, body) = mpsc::channel(FRAMES);
    tokio::spawn(pump(events, frames, shared.stopping.clone()));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(Frames(body))).into_response()
}

/// Passes events on until the reader is gone or the server stops.
async fn pump(mut events: broadcast::Receiver<Event>, frames: mpsc::Sender<Bytes>, stopping: Stopping) {
    let mut keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Bytes::from_static(GREETING);
    loop {
        tokio::select! {
            sent = frames.send(next) => if sent.is_err() { return },
            () = stopping.begun() => return,
        }
        next = tokio::select! {
            biased;
            () = frames.closed() => return,
            () = stopping.begun() => return,
            event = events.recv() => match event {
                Ok(event) => frame(event.kind(), &serde_json::to_string(&event).unwrap_or_default()),
                Err(RecvError::Lagged(missed)) => frame("lagged", &format!("{{\"missed\":{missed}}}")),
                Err(RecvError::Closed) => return,
            },
            _ = keep_alive.tick() => Bytes::from_static(b": still here\n\n"),
        };
    }
}

/// JSON has no raw line breaks, so that one `data` line will do.
fn frame(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// Sent at once, so that intermediaries pass the head on; `retry` is how soon a browser comes back.
const GREETING: &[u8] = b"retry: 2000\n: events follow\n\n";
/// Below the idle time of common intermediaries.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Frames that wait for a slow reader, beside those that wait in the broadcast.
const FRAMES: usize = 16;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::watch;

    use super::*;

    fn reload(at: &str) -> Event {
        Event::Reload { at: at.to_owned(), ok: true, problems: Vec::new() }
    }

    struct Stream {
        events: broadcast::Sender<Event>,
        stop: watch::Sender<bool>,
        frames: Frames,
        task: tokio::task::JoinHandle<()>,
    }

    impl Stream {
        /// A stream that has been greeted, over a broadcast that holds two events.
        async fn open() -> Self {
            let (events, receiver) = broadcast::channel(2);
            let (stop, stopping) = watch::channel(false);
            let (sender, body) = mpsc::channel(1);
            let task = tokio::spawn(pump(receiver, sender, Stopping(stopping)));
            let mut stream = Self { events, stop, frames: Frames(body), task };
            assert_eq!(stream.next().await.unwrap(), GREETING);
            stream
        }

        async fn next(&mut self) -> Option<Bytes> {
            self.frames.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
        }
    }

    #[tokio::test]
    async fn an_event_is_one_named_line_of_json() {
        let mut stream = Stream::open().await;
        stream.events.send(reload("x")).unwrap();
        let expected = "event: reload\ndata: {\"kind\":\"reload\",\"at\":\"x\",\"ok\":true,\"problems\":[]}\n\n";
        assert_eq!(stream.next().await.unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_every_15_seconds() {
        let mut stream = Stream::open().await;
        let before = Instant::now();
        for _ in 0..2 {
            assert_eq!(stream.next().await.unwrap(), ": still here\n\n");
        }
        assert_eq!(before.elapsed().as_secs(), 30);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let mut stream = Stream::open().await;
        for index in 0..7 {
            stream.events.send(reload(&index.to_string())).unwrap();
        }
        assert_eq!(stream.next().await.unwrap(), "event: lagged\ndata: {\"missed\":5}\n\n");
        assert!(stream.next().await.unwrap().starts_with(b"event: reload\ndata: {\"kind\":\"reload\",\"at\":\"5\""));
    }

    #[tokio::test]
    async fn it_ends_with_the_server_and_with_its_reader() {
        let mut stream = Stream::open().await;
        stream.stop.send_replace(true);
        assert_eq!(stream.next().await, None);
        let stream = Stream::open().await;
        drop(stream.frames);
        stream.task.await.unwrap();
    }
}
