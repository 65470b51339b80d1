//! From requests that are given: each is sent to the slot as a gate would, and its answer recorded.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{Outcome, Run, Tally, Terms, add, well};
use crate::{
    api::{Problem, RecordEnd},
    checks::{
        collect,
        golden::{Answer, Given, Recorded, Recorder, Redaction, Request},
    },
    config::ServiceSettings,
    control::overview::ServiceView,
    ids::Slot,
    upstream::Endpoint,
};

/// Whom to ask, and how.
struct Asking {
    endpoints: Vec<Arc<Endpoint>>,
    settings: Arc<ServiceSettings>,
    redaction: Redaction,
    repeat: bool,
    until: Instant,
}

/// Asks for them all, a few at a time, and records the answers in the order of the requests.
pub(super) async fn record(
    view: &ServiceView,
    slot: Slot,
    terms: &Terms,
    (requests, repeat): (&[Given], bool),
    run: &Run,
) -> Result<Outcome, Problem> {
    let asking = Arc::new(Asking {
        endpoints: well(&view.slots[slot].endpoints),
        settings: view.settings.clone(),
        redaction: terms.redaction.clone(),
        repeat,
        until: Instant::now() + terms.timeout,
    });
    let (mut recorder, mut tally) = (Recorder::new(terms.redaction.clone()), Tally::default());
    run.under_way();
    let mut sent = 0;
    for batch in requests.chunks(AT_ONCE) {
        if asking.left().is_zero() {
            break;
        }
        for answered in ask_all(&asking, batch, sent).await {
            match answered {
                Ok(exchange) => recorder = add(recorder, exchange, &mut tally).await?,
                Err((name, reason)) => tally.add(reason, Some(name)),
            }
        }
        sent += batch.len();
        run.recorded(recorder.count());
        run.seen(sent as u64, sent as u64);
    }
    tally.add_many("the recording's time was over".to_owned(), (requests.len() - sent) as u64, None);
    let ended = if sent == requests.len() { RecordEnd::Done } else { RecordEnd::TimedOut };
    Ok(Outcome { ended, recorder, tally })
}

type Answered = Result<Recorded, (String, String)>;

/// The answers of a batch, in its order.
async fn ask_all(asking: &Arc<Asking>, batch: &[Given], first: usize) -> Vec<Answered> {
    let mut running = JoinSet::new();
    for (index, given) in batch.iter().cloned().enumerate() {
        let asking = asking.clone();
        running.spawn(async move { (index, asking.ask(given, first + index).await) });
    }
    let mut all: Vec<_> = running.join_all().await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, answered)| answered).collect()
}

impl Asking {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    async fn ask(&self, given: Given, turn: usize) -> Answered {
        let name =
            given.name.clone().unwrap_or_else(|| format!("{} {}", given.request.method, given.request.path.path()));
        let unanswered = |reason: String| (name.clone(), format!("it got no answer: {reason}"));
        let answer = self.send(&given, &given.request, turn).await.map_err(unanswered)?;
        let again = if self.repeat {
            let replayable = self.redaction.replayable(&given.request).map_err(|reason| (name.clone(), reason))?;
            Some(self.send(&given, &replayable, turn).await.map_err(unanswered)?)
        } else {
            None
        };
        Ok(Recorded { name: given.name, request: given.request, answer, again })
    }

    async fn send(&self, given: &Given, request: &Request, turn: usize) -> Result<Answer, String> {
        let timeout = given.timeout.min(self.left()).max(Duration::from_millis(1));
        let bytes_max = given.answer_bytes_max.min(ANSWER_BYTES_MAX);
        collect(&self.endpoints, turn, request, &self.settings, timeout, bytes_max).await
    }
}

const AT_ONCE: usize = 4;
const ANSWER_BYTES_MAX: u64 = 16 << 20;
