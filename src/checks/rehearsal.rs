//! The golden step: every request of the file to every endpoint, a few at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::Instant as Deadline,
};

use super::{
    ask::{Bounds, address, ask},
    gate::{Finding, Gate},
    golden::{Case, Set, Verdict},
    progress::Progress,
};
use crate::{config::settings::ServiceSettings, upstream::Endpoint};

/// Sends and judges all of them; enough must pass at *each* endpoint. Requests that would begin after `until` are
/// skipped, and those that run then have failed. Dropping the future gives all of them up.
pub(super) async fn rehearse(gate: &Gate, set: &Arc<Set>, until: Deadline, progress: &Progress) -> Finding {
    let mut running = JoinSet::new();
    let (all, done) = (set.cases().len() * gate.endpoints.len(), Arc::new(AtomicUsize::new(0)));
    for (index, endpoint) in gate.endpoints.iter().enumerate() {
        let stage = Arc::new(Stage {
            endpoint: endpoint.clone(),
            set: set.clone(),
            settings: gate.settings.clone(),
            next: AtomicUsize::new(0),
            until,
            told: Told { all, done: done.clone(), progress: progress.clone() },
        });
        for _ in 0..AT_ONCE {
            let stage = stage.clone();
            running.spawn(async move { (index, stage.play().await) });
        }
    }
    let mut verdicts = vec![Vec::new(); gate.endpoints.len()];
    while let Some(joined) = running.join_next().await {
        // A task that panicked leaves its verdicts out, and what is missing has failed.
        let Ok((index, played)) = joined else { continue };
        verdicts[index].extend(played);
    }
    judge(gate, set, verdicts)
}

fn judge(gate: &Gate, set: &Set, verdicts: Vec<Vec<Verdict>>) -> Finding {
    let (mut all_pass, mut evidence) = (true, Vec::new());
    for (endpoint, mut verdicts) in gate.endpoints.iter().zip(verdicts) {
        let tally = set.tally(&verdicts);
        all_pass &= tally.is_enough();
        evidence.push(format!("{}: {tally}", endpoint.settings));
        verdicts.sort_by_key(|verdict| verdict.line);
        let failed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.passed()).collect();
        evidence.extend(failed.iter().take(FAILURES_SHOWN).map(|verdict| format!("- {verdict}")));
        if failed.len() > FAILURES_SHOWN {
            evidence.push(format!("- and {} more", failed.len() - FAILURES_SHOWN));
        }
    }
    Finding::of(all_pass, evidence)
}

/// One endpoint, and what is to be asked of it.
struct Stage {
    endpoint: Arc<Endpoint>,
    set: Arc<Set>,
    settings: Arc<ServiceSettings>,
    next: AtomicUsize,
    until: Deadline,
    told: Told,
}

/// How many answers there are, of all endpoints.
struct Told {
    all: usize,
    done: Arc<AtomicUsize>,
    progress: Progress,
}

impl Told {
    fn one_more(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        self.progress.detail(format!("{done} of {} golden requests", self.all));
    }
}

impl Stage {
    /// Takes request after request until none is left; several do so at once.
    async fn play(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            let Some(case) = self.set.cases().get(index) else { return verdicts };
            verdicts.push(self.play_one(index, case).await);
            self.told.one_more();
        }
    }

    async fn play_one(&self, index: usize, case: &Case) -> Verdict {
        let left = self.until.saturating_duration_since(Deadline::now());
        if left < Duration::from_millis(1) {
            return case.skipped("the time of service.gate.timeout was over");
        }
        let target = match address(&self.endpoint, case.request()) {
            Ok(target) => target,
            Err(why) => return case.skipped(why),
        };
        let bounds = Bounds { timeout: case.timeout().min(left), answer_bytes_max: case.answer_bytes_max() };
        match ask(target, case.request(), &self.settings, bounds).await {
            Ok(answer) => {
                let (set, took) = (self.set.clone(), answer.took);
                let judged = spawn_blocking(move || set.cases().get(index).map(|case| case.judge(&answer))).await;
                let lost = || case.unanswered("an answer that could not be judged", took);
                judged.ok().flatten().unwrap_or_else(lost)
            }
            Err(none) => case.unanswered(none.reason, none.took),
        }
    }
}

/// Requests at once to one endpoint.
const AT_ONCE: usize = 4;
/// Failures that are told of each endpoint.
const FAILURES_SHOWN: usize = 3;
