//! How far a gate is, for whoever waits for it.

use tokio::sync::watch;

use crate::api::{GateProgress, GateStep, RunningStep};

/// Where a gate says how far it is. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Progress(watch::Sender<GateProgress>);

impl Progress {
    /// Both ends. What is seen is always the whole progress; a slow watcher misses what lies between.
    pub fn new() -> (Self, watch::Receiver<GateProgress>) {
        let (said, seen) = watch::channel(GateProgress::default());
        (Self(said), seen)
    }

    /// A step begins.
    pub(super) fn begin(&self, name: &str) {
        self.0.send_modify(|progress| progress.running = Some(RunningStep { name: name.to_owned(), detail: None }));
    }

    /// How far the running step is, in words.
    pub(super) fn detail(&self, words: String) {
        self.0.send_modify(|progress| {
            if let Some(running) = &mut progress.running {
                running.detail = Some(words);
            }
        });
    }

    /// The running step is done.
    pub(super) fn end(&self, step: GateStep) {
        self.0.send_modify(|progress| {
            progress.running = None;
            progress.steps.push(step);
        });
    }
}
