//! From live traffic, by a tap on the slot.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{Outcome, Run, Tally, Terms, add, well};
use crate::{
    api::{Problem, ProblemKind, RecordEnd},
    checks::{
        collect,
        golden::{Answer, AnswerEnd, Arrival, Recorded, Recorder, Request},
    },
    control::{
        handle::Handle,
        overview::{Overview, ServiceView, Shown},
    },
    ids::Slot,
    shadow::{Copied, CopyBounds, Omission, Wanted},
};

/// Draws from a tap until enough is in the file, its time is over or the slot is left.
pub(super) async fn record(
    handle: &Handle,
    view: &ServiceView,
    slot: Slot,
    terms: &Terms,
    (wanted, repeat): (&Wanted, bool),
    run: &Run,
) -> Result<Outcome, Problem> {
    let place = (&view.settings.name, slot);
    let outlet = handle.inner.taps.open(place, wanted.clone(), terms.without.clone(), BOUNDS);
    let Some(mut outlet) = outlet else {
        return Err(Problem::new(ProblemKind::Busy, format!("the traffic of slot {slot} is being copied already")));
    };
    run.under_way();
    let recorder = Some(Recorder::new(terms.redaction.clone()));
    let mut desk = Desk { view, slot, terms, repeat, run, recorder, tally: Tally::default(), turn: 0 };
    let until = Instant::now() + terms.timeout;
    let mut left = std::pin::pin!(slot_left(handle.inner.overview.clone(), view, slot));
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            biased;
            () = sleep_until(until) => break RecordEnd::TimedOut,
            () = &mut left => break RecordEnd::SlotChanged,
            Some(copied) = outlet.draw() => if desk.take(copied, until).await? { break RecordEnd::Done },
            _ = look.tick() => {}
        }
        let counts = outlet.counts();
        run.seen(counts.seen, counts.matching);
    };
    let mut full = ended == RecordEnd::Done;
    while !full && let Some(copied) = outlet.draw_waiting() {
        full = desk.take(copied, until).await?;
    }
    let counts = outlet.counts();
    drop(outlet);
    run.seen(counts.seen, counts.matching);
    // What still runs when there is enough is not missed.
    let is_missed = |(why, _): &(Omission, u64)| !full || *why != Omission::Unfinished;
    for (why, count) in counts.omitted.into_iter().filter(is_missed) {
        desk.tally.add_many(why.in_words().to_owned(), count, None);
    }
    let recorder = desk.recorder.ok_or_else(lost)?;
    Ok(Outcome { ended: if full { RecordEnd::Done } else { ended }, recorder, tally: desk.tally })
}

/// Where copies become lines.
struct Desk<'a> {
    view: &'a ServiceView,
    slot: Slot,
    terms: &'a Terms,
    repeat: bool,
    run: &'a Run,
    /// Away while it works.
    recorder: Option<Recorder>,
    tally: Tally,
    /// Requests that were sent again: each goes to the next endpoint.
    turn: usize,
}

impl Desk<'_> {
    /// Takes a copy; true if that was the last that is wanted.
    async fn take(&mut self, copied: Copied, until: Instant) -> Result<bool, Problem> {
        let recorder = self.recorder.take().ok_or_else(lost)?;
        let mut exchange = recorded(copied);
        if self.repeat {
            self.turn += 1;
            exchange.again = self.again(&exchange.request, self.turn, until).await;
        }
        let recorder = add(recorder, exchange, &mut self.tally).await?;
        let count = recorder.count();
        self.recorder = Some(recorder);
        self.run.recorded(count);
        Ok(count >= self.terms.wanted)
    }

    /// The answer to the request as the file has it. Without one the live answer must do.
    async fn again(&self, request: &Request, turn: usize, until: Instant) -> Option<Answer> {
        let request = self.terms.redaction.replayable(request).ok()?;
        let left = until.saturating_duration_since(Instant::now());
        let (endpoints, settings) = (well(&self.view.slots[self.slot].endpoints), &self.view.settings);
        let limit = left.clamp(Duration::from_millis(1), REPEAT_TIMEOUT);
        collect(&endpoints, turn, &request, settings, limit, BOUNDS.answer_bytes_max as u64).await.ok()
    }
}

fn lost() -> Problem {
    Problem::new(ProblemKind::Internal, "the recording was lost")
}

fn recorded(copied: Copied) -> Recorded {
    let request = Request::new(copied.method, copied.path, &copied.headers, copied.body.freeze());
    let arrivals = copied.arrivals.iter().map(|(until, at)| Arrival { until: *until, at: *at }).collect();
    let answer = Answer {
        status: copied.status,
        headers: copied.answer_headers,
        trailers: copied.answer_trailers,
        body: copied.answer_body.freeze(),
        arrivals,
        end: AnswerEnd::Complete,
        took: copied.took,
    };
    Recorded { name: None, request, answer, again: None }
}

/// Returns when the slot serves no more, or something else stands in it.
async fn slot_left(mut overview: watch::Receiver<Arc<Overview>>, begun: &ServiceView, slot: Slot) {
    let endpoints = |view: &ServiceView| view.slots[slot].endpoints.iter().map(|one| one.id).collect::<Vec<_>>();
    let same = |overview: &Arc<Overview>| {
        let now = overview.services.get(&begun.settings.name).map(Shown::view);
        now.is_some_and(|now| now.active == slot && endpoints(&now) == endpoints(begun))
    };
    // An error means that the controller has ended, and with it everything.
    let _ = overview.wait_for(|overview| !same(overview)).await;
}

/// More may wait than are wanted: some of them will be left out.
const BOUNDS: CopyBounds = CopyBounds {
    request_bytes_max: 1 << 20,
    answer_bytes_max: 16 << 20,
    bytes_max: 64 << 20,
    at_once_max: 256,
    waiting_max: 256,
};
const LOOK_EVERY: Duration = Duration::from_millis(250);
const REPEAT_TIMEOUT: Duration = Duration::from_secs(30);
