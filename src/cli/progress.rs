//! How far a gate is, in words: one line that changes, for a terminal; few lines that stay, for everything else.

use std::time::Duration;

use tokio::time::Instant;

use super::render;
use crate::{
    api::{GateNews, GateProgress, GatePurpose, GateStep},
    ids::{ServiceName, Slot},
};

/// Which gate to look at.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) service: ServiceName,
    /// Left out: of whichever slot.
    pub(super) slot: Option<Slot>,
    pub(super) purpose: GatePurpose,
}

/// The progress of one gate. If another begins that is meant as well, such as after `--supersede`, it goes on with that.
#[derive(Debug)]
pub(super) struct Progress {
    watched: Watched,
    slot: Option<Slot>,
    begun: bool,
    gate: GateProgress,
    ended: bool,
    since: Instant,
    /// So many steps were told in lines that stay.
    told: usize,
    told_at: Instant,
}

impl Progress {
    pub(super) fn new(watched: Watched, now: Instant) -> Self {
        let slot = watched.slot;
        let gate = GateProgress::default();
        Self { watched, slot, begun: false, gate, ended: false, since: now, told: 0, told_at: now }
    }

    /// Takes news in; those of another service, slot or purpose are not for this one.
    pub(super) fn take(&mut self, news: GateNews, now: Instant) {
        let Watched { service, slot, purpose } = &self.watched;
        if news.service != *service || news.purpose != *purpose || slot.is_some_and(|slot| slot != news.slot) {
            return;
        }
        if self.ended || !self.begun || news.progress.steps.len() < self.gate.steps.len() {
            (self.since, self.told, self.told_at) = (now, 0, now);
        }
        self.slot = Some(news.slot);
        self.begun = true;
        self.ended = news.passed.is_some();
        self.gate = news.progress;
    }

    /// True while a gate runs whose end was not seen.
    pub(super) fn runs(&self) -> bool {
        self.begun && !self.ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// `green: golden: 12 of 60 golden requests (3s) · readiness passed, contract skipped`; nothing before it begins.
    pub(super) fn line(&self, now: Instant) -> Option<String> {
        let slot = self.slot?;
        let done = self.gate.steps.iter().map(result).collect::<Vec<_>>().join(", ");
        let running = self.running();
        if running.is_none() && done.is_empty() {
            return None;
        }
        let time = whole_seconds(now - self.since);
        Some(match running {
            Some(running) if done.is_empty() => format!("{slot}: {running}{time}"),
            Some(running) => format!("{slot}: {running}{time} \u{b7} {done}"),
            None => format!("{slot}: {done}{time}"),
        })
    }

    /// The steps that have ended since it was asked last, one line each; and at times how far the running one is.
    pub(super) fn lines(&mut self, now: Instant) -> Vec<String> {
        let Some(slot) = self.slot else { return Vec::new() };
        let ended = self.gate.steps.iter().skip(self.told);
        let mut lines: Vec<_> =
            ended.map(|step| format!("{slot}: {} ({})", result(step), render::short_time(step.took_ms))).collect();
        self.told = self.gate.steps.len();
        if lines.is_empty() && now - self.told_at >= DETAIL_EVERY {
            lines.extend(self.running().map(|running| format!("{slot}: {running}")));
        }
        if !lines.is_empty() {
            self.told_at = now;
        }
        lines
    }

    fn running(&self) -> Option<String> {
        self.gate.running.as_ref().map(render::running)
    }
}

fn result(step: &GateStep) -> String {
    format!("{} {}", step.name, render::step_result(step.result).1)
}

/// ` (3s)`; nothing in the first second.
fn whole_seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => String::new(),
        seconds => format!(" ({})", render::short_time(seconds * 1000)),
    }
}

/// A person who reads a log wants to know that it goes on, not each step of it.
pub(super) const DETAIL_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples::{gate_news, iris, running};

    fn progress(now: Instant) -> Progress {
        let watched = Watched { service: iris(), slot: Some(Slot::Green), purpose: GatePurpose::Switch };
        Progress::new(watched, now)
    }

    /// Fails when: a step's end is told twice or not at all, or its detail more often than every five seconds.
    #[test]
    fn a_log_has_the_ends_of_steps_and_a_detail_at_times() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = progress(start);
        assert!(progress.lines(at(9)).is_empty(), "nothing has begun");
        let mut seen = Vec::new();
        for (second, news) in [
            (10, gate_news(&[], Some(running("readiness", None)), None)),
            (11, gate_news(&["readiness"], Some(running("golden", Some("1 of 60 golden requests"))), None)),
            (12, gate_news(&["readiness"], Some(running("golden", Some("9 of 60 golden requests"))), None)),
            (16, gate_news(&["readiness"], Some(running("golden", Some("40 of 60 golden requests"))), None)),
            (17, gate_news(&["readiness"], Some(running("golden", Some("44 of 60 golden requests"))), None)),
            (18, gate_news(&["readiness", "golden"], None, Some(true))),
        ] {
            progress.take(news, at(second));
            seen.extend(progress.lines(at(second)).into_iter().map(|line| (second, line)));
        }
        let expected = [
            (11, "green: readiness passed (5ms)"),
            (16, "green: golden: 40 of 60 golden requests"),
            (18, "green: golden passed (5ms)"),
        ];
        assert_eq!(seen, expected.map(|(second, line)| (second, line.to_owned())));
        assert!(progress.has_ended() && !progress.runs());
    }

    /// Fails when: the line of a terminal does not begin with what runs now.
    #[test]
    fn a_terminal_has_one_line_with_what_runs_first() {
        let start = Instant::now();
        let mut progress = progress(start);
        assert_eq!(progress.line(start), None);
        progress.take(gate_news(&[], Some(running("readiness", None)), None), start);
        assert_eq!(progress.line(start).as_deref(), Some("green: readiness"));
        progress
            .take(gate_news(&["readiness"], Some(running("golden", Some("12 of 60 golden requests"))), None), start);
        let line = "green: golden: 12 of 60 golden requests (3s) \u{b7} readiness passed";
        assert_eq!(progress.line(start + Duration::from_secs(3)).as_deref(), Some(line));
        progress.take(gate_news(&["readiness", "golden"], None, Some(true)), start);
        assert_eq!(progress.line(start).as_deref(), Some("green: readiness passed, golden passed"));
    }

    /// Fails when: another service's, slot's or purpose's gate is shown as this one's.
    #[test]
    fn the_gates_of_others_are_not_shown() {
        let start = Instant::now();
        let mut progress = progress(start);
        let ours = gate_news(&["readiness"], None, None);
        for theirs in [
            GateNews { service: "llama".parse().unwrap(), ..ours.clone() },
            GateNews { slot: Slot::Blue, ..ours.clone() },
            GateNews { purpose: GatePurpose::Test, ..ours.clone() },
        ] {
            progress.take(theirs, start);
            assert!(progress.lines(start).is_empty() && progress.line(start).is_none());
        }
        progress.take(ours, start);
        assert_eq!(progress.lines(start).len(), 1);
    }

    /// Fails when: the steps of a gate that takes another's place are held for told.
    #[test]
    fn a_gate_that_takes_anothers_place_is_told_from_its_start() {
        let start = Instant::now();
        let mut progress = progress(start);
        progress.take(gate_news(&["readiness", "contract"], None, Some(false)), start);
        assert_eq!(progress.lines(start).len(), 2);
        progress.take(gate_news(&["readiness", "contract"], Some(running("golden", None)), None), start);
        assert_eq!(progress.lines(start).len(), 2);
    }
}
