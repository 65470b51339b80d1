//! Recordings: a golden file from live traffic (`live`) or from requests that are given (`given`). They change nothing, so
//! the controller has no part in them; one at a time runs on a slot, and it ends with the future of whoever asked for it.

mod given;
mod live;
mod run;
mod tally;
mod terms;

use std::{sync::Arc, time::Instant};

use super::{handle::Handle, overview::ServiceView};
use crate::{
    api::{EndpointHealth, Problem, ProblemKind, RecordEnd, RecordProgress, RecordReply, RecordRequest},
    checks::golden::{LeftOut, Recorded, Recorder},
    ids::Slot,
    upstream::Endpoint,
};

pub(super) use run::Recordings;
use run::Run;
use tally::Tally;
use terms::{Source, Terms};

/// What a recording has come to.
struct Outcome {
    ended: RecordEnd,
    recorder: Recorder,
    tally: Tally,
}

impl Handle {
    /// Records a golden file. Cancelling the future ends the recording, and what it has is lost.
    ///
    /// # Errors
    /// `not_found`; `refused` if there is nothing to record from; `busy` while another one runs on the slot; `invalid`.
    pub async fn record(
        &self,
        name: &str,
        slot: Slot,
        request: RecordRequest,
        actor: &str,
    ) -> Result<RecordReply, Problem> {
        let view = self.view(name)?;
        let terms = blocking(move || Terms::new(&request)).await??;
        refuse_without_source(&view, slot, &terms)?;
        let started = Instant::now();
        let run = self.inner.recordings.begin(&view.settings.name, slot, terms.wanted, actor)?;
        let outcome = match &terms.source {
            Source::Live { wanted, repeat } => live::record(self, &view, slot, &terms, (wanted, *repeat), &run).await?,
            Source::Given { requests, repeat } => given::record(&view, slot, &terms, (requests, *repeat), &run).await?,
        };
        let Outcome { ended, recorder, tally } = outcome;
        let recording = recorder.finish();
        run.done(recording.count);
        let file = if recording.count > 0 { recording.text } else { String::new() };
        let RecordProgress { seen, matching, .. } = run.progress();
        Ok(RecordReply {
            service: view.settings.name.clone(),
            slot,
            ended,
            recorded: recording.count,
            wanted: terms.wanted,
            seen,
            matching,
            left_out: tally.into_list(),
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            file,
        })
    }

    /// How the slot's recording stands.
    ///
    /// # Errors
    /// `not_found`.
    pub fn recording(&self, name: &str, slot: Slot) -> Result<RecordProgress, Problem> {
        let view = self.view(name)?;
        Ok(self.inner.recordings.progress(&view.settings.name, slot))
    }
}

fn refuse_without_source(view: &ServiceView, slot: Slot, terms: &Terms) -> Result<(), Problem> {
    let service = &view.settings.name;
    if view.slots[slot].endpoints.is_empty() {
        let message = format!("slot {slot} of service {service} is empty");
        return Err(Problem::new(ProblemKind::Refused, message).hint("put endpoints into it first"));
    }
    if matches!(terms.source, Source::Live { .. }) && view.active != slot {
        let message = format!("slot {slot} of service {service} does not serve, so that no live traffic goes there");
        let hint = format!("record from {}, or give the requests (--requests FILE)", view.active);
        return Err(Problem::new(ProblemKind::Refused, message).hint(hint));
    }
    Ok(())
}

/// Adds an exchange on a thread where it may take its time; one that is left out is counted.
async fn add(mut recorder: Recorder, mut exchange: Recorded, tally: &mut Tally) -> Result<Recorder, Problem> {
    let (recorder, added) = blocking(move || {
        exchange.prefer_plain();
        let added = recorder.add(&exchange);
        (recorder, added)
    })
    .await?;
    if let Err(LeftOut { name, reason }) = added {
        tally.add(reason, Some(name));
    }
    Ok(recorder)
}

/// Those that are healthy; all of them if none is.
fn well(endpoints: &[Arc<Endpoint>]) -> Vec<Arc<Endpoint>> {
    let healthy: Vec<_> = endpoints.iter().filter(|one| one.health() == EndpointHealth::Healthy).cloned().collect();
    if healthy.is_empty() { endpoints.to_vec() } else { healthy }
}

/// Does what may take its time on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let ended = |error| Problem::new(ProblemKind::Internal, format!("the recording failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)
}
