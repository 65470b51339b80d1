//! What happens at the admin API while a command waits there: its events, and a drain that is asked for again and again.
//!
//! News is for the eye only. A stream that breaks off is opened again; one that cannot be had is done without.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    client::{Client, Exchange},
    error::CliError,
};
use crate::api::{DrainStatus, Event};

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Item {
    Event(Event),
    Drain(DrainStatus),
}

/// What happens from here on; dropping it ends it.
pub(super) struct News {
    items: mpsc::Receiver<Item>,
    sender: mpsc::Sender<Item>,
    tasks: JoinSet<()>,
    client: Arc<Client>,
}

impl News {
    /// Returns when the events are subscribed to, so that none of what is asked for next is missed; or soon, if they
    /// cannot be had.
    pub(super) async fn open(client: Arc<Client>) -> Self {
        let (sender, items) = mpsc::channel(ITEMS);
        let (opened, is_open) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(client.clone(), sender.clone(), opened));
        let _ = timeout(OPEN_TIME_MAX, is_open).await;
        Self { items, sender, tasks, client }
    }

    /// The next item; waits for ever if there is none. May be cancelled without loss.
    pub(super) async fn next(&mut self) -> Item {
        match self.items.recv().await {
            Some(item) => item,
            // Cannot be: this value keeps a sender.
            None => std::future::pending().await,
        }
    }

    /// From now on also tells how that drain stands, once a second.
    pub(super) fn watch_drain(&mut self, path: String) {
        self.tasks.spawn(watch(self.client.clone(), path, self.sender.clone()));
    }
}

/// Passes events on, over as many connections as it takes.
async fn follow(client: Arc<Client>, items: mpsc::Sender<Item>, opened: oneshot::Sender<()>) {
    let mut opened = Some(opened);
    loop {
        let stream = client.stream("/v1/events").await;
        opened.take().map(|opened| opened.send(()));
        match stream {
            Ok(mut exchange) => {
                if pass_on(&mut exchange, &items).await.is_none() {
                    return;
                }
            }
            // Asked again it would say the same.
            Err(CliError::Problem { .. } | CliError::Foreign { .. }) => return,
            Err(_broken) => {}
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Passes events on until the stream ends; nothing if nobody listens any more.
async fn pass_on(exchange: &mut Exchange, items: &mpsc::Sender<Item>) -> Option<()> {
    let mut blocks = Blocks::default();
    while let Some(Ok(frame)) = exchange.response.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        for event in blocks.take(&bytes)? {
            items.send(Item::Event(event)).await.ok()?;
        }
    }
    Some(())
}

async fn watch(client: Arc<Client>, path: String, items: mpsc::Sender<Item>) {
    loop {
        if let Ok(answer) = client.look(&path, Duration::ZERO).await
            && items.send(Item::Drain(answer.value)).await.is_err()
        {
            return;
        }
        sleep(DRAIN_EVERY).await;
    }
}

/// Bytes of a stream of server-sent events, cut into events. Those that this version does not know are left out.
#[derive(Default)]
struct Blocks {
    rest: Vec<u8>,
    /// So much of it was looked through.
    searched: usize,
}

impl Blocks {
    /// The events that are complete with these bytes; nothing if one is too large to be ours.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<Event>> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest[self.searched..].windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..self.searched + end + 2).collect();
            self.searched = 0;
            let lines = block.split(|byte| *byte == b'\n');
            let data = lines.filter_map(|line| line.strip_prefix(b"data: "));
            events.extend(data.filter_map(|data| serde_json::from_slice(data).ok()));
        }
        self.searched = self.rest.len().saturating_sub(1);
        (self.rest.len() <= BLOCK_BYTES_MAX).then_some(events)
    }
}

const ITEMS: usize = 64;
const OPEN_TIME_MAX: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const DRAIN_EVERY: Duration = Duration::from_secs(1);
/// A gate's whole evidence stands in each of its events.
const BLOCK_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(at: &str) -> Event {
        Event::Reload { at: at.into(), ok: true, problems: Vec::new() }
    }

    /// Fails when: an event that comes in pieces is lost, or one that nobody knows ends the stream.
    #[test]
    fn events_are_cut_wherever_their_bytes_are() {
        let data = serde_json::to_string(&reload("a")).unwrap();
        let text = format!(
            "retry: 2000\n: events follow\n\nevent: lagged\ndata: {{\"missed\":5}}\n\nevent: reload\ndata: {data}\n\n\
             event: new\ndata: {{\"kind\":\"new\"}}\n\nevent: reload\ndata: {data}\n\n: still here\n\n"
        );
        for size in [1, 7, text.len()] {
            let mut blocks = Blocks::default();
            let seen: Vec<_> = text.as_bytes().chunks(size).flat_map(|part| blocks.take(part).unwrap()).collect();
            assert_eq!(seen, [reload("a"), reload("a")], "{size}");
        }
    }

    /// Fails when: what a stranger sends without end is kept.
    #[test]
    fn what_never_ends_is_given_up() {
        let mut blocks = Blocks::default();
        let part = vec![b'x'; 1 << 20];
        assert!((0..17).any(|_| blocks.take(&part).is_none()));
    }
}
