//! A gate that runs: whoever waits sees how far it is, and it can be given up.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::clock;
use crate::{
    api::{Event, GateNews, GateProgress, GatePurpose, GateReport, GateStep, StepResult},
    checks::{Gate, Progress, run_gate},
    ids::{ServiceName, Slot},
    telemetry::Registry,
};

/// What a gate is run for, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    pub(super) purpose: GatePurpose,
    pub(super) actor: String,
}

/// Where it is told how gates go on.
#[derive(Clone, Debug)]
pub(super) struct Gallery {
    pub(super) events: broadcast::Sender<Event>,
    pub(super) registry: Registry,
}

/// A gate before it runs.
#[derive(Debug)]
pub(super) struct Trial {
    gate: Gate,
    progress: Progress,
    seen: watch::Receiver<GateProgress>,
    teller: Teller,
}

/// A gate that runs in a task of its own. Dropping it gives the gate up.
#[derive(Debug)]
pub(super) struct Running {
    seen: watch::Receiver<GateProgress>,
    why: Arc<OnceLock<String>>,
    task: JoinHandle<()>,
}

impl Trial {
    pub(super) fn new(errand: Errand, gate: Gate, gallery: &Gallery) -> Self {
        let (progress, seen) = Progress::new();
        let why = Arc::new(OnceLock::new());
        let teller = Teller { errand, gallery: gallery.clone(), seen: seen.clone(), why, told: false };
        Self { gate, progress, seen, teller }
    }

    /// Runs the gate and tells of each step. Dropping the future gives the gate up: its connections are closed, and that
    /// is told, too.
    pub(super) async fn run(self) -> GateReport {
        let Self { gate, progress, seen, teller } = self;
        let report = tokio::select! {
            report = run_gate(gate, &progress) => report,
            never = teller.follow(seen) => match never {},
        };
        teller.finish(&report);
        report
    }

    /// Runs it in a task, which then does what comes next.
    pub(super) fn start<F, N>(self, next: F) -> Running
    where
        F: FnOnce(GateReport) -> N + Send + 'static,
        N: Future<Output = ()> + Send,
    {
        let (seen, why) = (self.seen.clone(), self.teller.why.clone());
        let task = tokio::spawn(async move { next(self.run().await).await });
        Running { seen, why, task }
    }
}

impl Running {
    /// How far it is.
    pub(super) fn seen(&self) -> &watch::Receiver<GateProgress> {
        &self.seen
    }

    /// Gives it up; what it has seen until now. Its connections are closed as soon as its task is taken down.
    pub(super) fn stop(self, why: &str) -> GateReport {
        // Nobody else sets it: whoever stops it has it.
        let _ = self.why.set(why.to_owned());
        self.task.abort();
        GateReport { passed: false, steps: given_up(&self.seen.borrow(), why).steps }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The running step has failed, because it was given up.
fn given_up(progress: &GateProgress, why: &str) -> GateProgress {
    let mut steps = progress.steps.clone();
    if let Some(running) = &progress.running {
        let evidence = running.detail.iter().cloned().chain([format!("given up: {why}")]).collect();
        steps.push(GateStep { name: running.name.clone(), result: StepResult::Fail, evidence, took_ms: 0 });
    }
    GateProgress { steps, running: None }
}

/// Tells how a gate goes on, and how it ended, whichever way it did.
#[derive(Debug)]
struct Teller {
    errand: Errand,
    gallery: Gallery,
    seen: watch::Receiver<GateProgress>,
    /// Why it was given up.
    why: Arc<OnceLock<String>>,
    /// The end was told.
    told: bool,
}

impl Teller {
    /// Tells each step at once, and what happens within a step a few times a second.
    async fn follow(&self, mut seen: watch::Receiver<GateProgress>) -> Infallible {
        let mut shown = GateProgress::default();
        let mut next_detail = Instant::now();
        while seen.changed().await.is_ok() {
            // An error only says that no step began or ended until it was time for a detail.
            let _ = timeout_at(next_detail, seen.wait_for(|now| !is_same_step(now, &shown))).await;
            shown = seen.borrow_and_update().clone();
            next_detail = Instant::now() + DETAIL_PAUSE;
            self.tell(shown.clone(), None);
        }
        pending().await
    }

    fn finish(mut self, report: &GateReport) {
        let result = if report.passed { "passed" } else { "failed" };
        self.end(GateProgress { steps: report.steps.clone(), running: None }, report.passed, result);
    }

    fn end(&mut self, progress: GateProgress, passed: bool, result: &str) {
        self.told = true;
        self.tell(progress, Some(passed));
        let Errand { service, slot, purpose, .. } = &self.errand;
        self.gallery.registry.gate(service, *slot, purpose_name(*purpose), result);
    }

    fn tell(&self, progress: GateProgress, passed: Option<bool>) {
        let Errand { service, slot, purpose, actor } = self.errand.clone();
        let news = GateNews { at: clock::now(), service, slot, purpose, actor, progress, passed };
        // An error only says that nobody listens.
        let _ = self.gallery.events.send(Event::Gate(news));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if !self.told {
            let why = self.why.get().map_or("nobody waits for it any more", String::as_str);
            let progress = given_up(&self.seen.borrow(), why);
            tracing::info!(service = %self.errand.service, slot = %self.errand.slot, why, "A gate was given up.");
            self.end(progress, false, "cancelled");
        }
    }
}

fn is_same_step(one: &GateProgress, other: &GateProgress) -> bool {
    let name = |progress: &GateProgress| progress.running.as_ref().map(|running| running.name.clone());
    one.steps.len() == other.steps.len() && name(one) == name(other)
}

fn purpose_name(purpose: GatePurpose) -> &'static str {
    match purpose {
        GatePurpose::Switch => "switch",
        GatePurpose::Rollback => "rollback",
        GatePurpose::Slot => "slot",
        GatePurpose::Reload => "reload",
        GatePurpose::Test => "test",
    }
}

/// Between two words about the same step: four a second are enough for an eye.
const DETAIL_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RunningStep;

    struct Watched {
        said: watch::Sender<GateProgress>,
        events: broadcast::Receiver<Event>,
        registry: Registry,
    }

    fn teller() -> (Teller, watch::Receiver<GateProgress>, Watched) {
        let (said, seen) = watch::channel(GateProgress::default());
        let (events, heard) = broadcast::channel(64);
        let registry = Registry::new(1).unwrap();
        let service = "iris".parse().unwrap();
        let errand = Errand { service, slot: Slot::Green, purpose: GatePurpose::Test, actor: "alice".to_owned() };
        let gallery = Gallery { events, registry: registry.clone() };
        let teller = Teller { errand, gallery, seen: seen.clone(), why: Arc::new(OnceLock::new()), told: false };
        (teller, seen, Watched { said, events: heard, registry })
    }

    impl Watched {
        fn says(&self, name: &str, detail: Option<usize>) {
            let running = RunningStep { name: name.to_owned(), detail: detail.map(|number| number.to_string()) };
            self.said.send_modify(|progress| progress.running = Some(running));
        }

        /// Names and details of the running steps that were told.
        fn told(&mut self) -> Vec<(String, Option<String>)> {
            let mut told = Vec::new();
            while let Ok(Event::Gate(news)) = self.events.try_recv() {
                told.extend(news.progress.running.map(|running| (running.name, running.detail)));
            }
            told
        }
    }

    /// Fails when: `follow` tells every detail, keeps a step back, or leaves the last detail out.
    #[tokio::test(start_paused = true)]
    async fn steps_are_told_at_once_and_details_four_times_a_second() {
        let (teller, seen, mut watched) = teller();
        let task = tokio::spawn(async move { teller.follow(seen).await });
        let after = |millis| tokio::time::sleep(Duration::from_millis(millis));
        watched.says("readiness", None);
        after(1).await;
        assert_eq!(watched.told().len(), 1);
        watched.says("golden", Some(0));
        after(1).await;
        assert_eq!(watched.told(), [("golden".to_owned(), Some("0".to_owned()))], "a step is not kept back");
        for detail in 1..=100 {
            watched.says("golden", Some(detail));
            after(10).await;
        }
        after(300).await;
        let told = watched.told();
        assert!((3..=6).contains(&told.len()), "{told:?}");
        assert_eq!(told.last().unwrap().1.as_deref(), Some("100"));
        task.abort();
    }

    /// Fails when: a gate that is dropped ends without a word, or is not counted.
    #[test]
    fn what_is_given_up_says_why() {
        let (teller, _seen, mut watched) = teller();
        watched.says("golden", Some(7));
        teller.why.set("cancelled by bob".to_owned()).unwrap();
        drop(teller);
        let Ok(Event::Gate(news)) = watched.events.try_recv() else { panic!("nothing was told") };
        assert_eq!((news.passed, news.progress.running), (Some(false), None));
        let step = &news.progress.steps[0];
        assert_eq!((step.name.as_str(), step.result), ("golden", StepResult::Fail));
        assert_eq!(step.evidence, ["7", "given up: cancelled by bob"]);
        let line = "verdigris_gates_total{purpose=\"test\",result=\"cancelled\",service=\"iris\",slot=\"green\"} 1";
        assert!(watched.registry.render().contains(line), "{}", watched.registry.render());
    }

    #[test]
    fn an_end_is_told_once() {
        let (teller, _seen, mut watched) = teller();
        teller.finish(&GateReport { passed: true, steps: Vec::new() });
        let Ok(Event::Gate(news)) = watched.events.try_recv() else { panic!("nothing was told") };
        assert_eq!(news.passed, Some(true));
        assert!(watched.events.try_recv().is_err());
    }
}
