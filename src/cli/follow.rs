//! Waiting with open eyes: does a call, and meanwhile shows how its gate goes on, and then its drain.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    news::{Item, News},
    progress::{DETAIL_EVERY, Progress, Watched},
    render,
    session::Session,
};
use crate::{
    api::{Action, DrainStatus, Event, GatePurpose, HistoryEntry, Outcome},
    ids::{ServiceName, Slot},
};

/// What to show of a call.
#[derive(Clone, Debug)]
pub(super) struct Following {
    pub(super) gate: Watched,
    /// For a call that waits until the slot that served before is drained: how long.
    pub(super) drain: Option<Duration>,
}

/// Does `work`, which must not begin before it is polled, and tells on stderr how it goes on. What cannot be shown does
/// it no harm.
pub(super) async fn follow<T>(session: &mut Session<'_>, what: Following, work: impl Future<Output = T>) -> T {
    let mut news = News::open(session.client()).await;
    let mut sight = Sight::new(what, session.terminal.live.is_some());
    let mut work = pin!(work);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            item = news.next() => sight.take(item, &mut news, session),
            _ = tick.tick() => {}
        }
        sight.draw(session);
    };
    // The answer may overtake the last events, which come on another connection.
    let rest_time = if sight.progress.runs() { REST_TIME_MAX } else { FIRST_TIME_MAX };
    let rest = async {
        while !sight.progress.has_ended() {
            let item = news.next().await;
            sight.take(item, &mut news, session);
        }
    };
    let _ = timeout(rest_time, rest).await;
    sight.end(session);
    done
}

/// What there is to see, and how much of it was told.
struct Sight {
    what: Following,
    live: bool,
    progress: Progress,
    drain: Option<Drain>,
}

/// A drain that is waited for.
struct Drain {
    slot: Slot,
    until: Instant,
    status: Option<DrainStatus>,
    told: String,
    told_at: Option<Instant>,
}

impl Sight {
    fn new(what: Following, live: bool) -> Self {
        let progress = Progress::new(what.gate.clone(), Instant::now());
        Self { what, live, progress, drain: None }
    }

    fn take(&mut self, item: Item, news: &mut News, session: &mut Session<'_>) {
        match item {
            Item::Event(Event::Gate(gate)) => self.progress.take(gate, Instant::now()),
            Item::Event(Event::Change(entry)) => self.moved(&entry, news, session),
            Item::Event(_) => {}
            Item::Drain(status) => self.drain.iter_mut().for_each(|drain| drain.status = Some(status.clone())),
        }
    }

    /// Traffic has moved: what is left is the drain.
    fn moved(&mut self, entry: &HistoryEntry, news: &mut News, session: &mut Session<'_>) {
        let Watched { service, slot, purpose } = &self.what.gate;
        let ours = match purpose {
            GatePurpose::Switch => entry.action == Action::Switch,
            GatePurpose::Rollback => entry.action == Action::Rollback,
            GatePurpose::Slot | GatePurpose::Reload | GatePurpose::Test => false,
        };
        let (Some(from), Some(to)) = (entry.from, entry.to) else { return };
        let here = entry.service == *service && entry.outcome == Outcome::Done && slot.is_none_or(|slot| slot == to);
        if let (true, true, Some(time), None) = (ours, here, self.what.drain, &self.drain) {
            let service = service.clone();
            self.end_gate(session);
            session.progress(&format!("{to} serves now, generation {}; {from} drains", entry.generation));
            session.goes_on = Some(drain_goes_on(&service, from, to));
            news.watch_drain(format!("/v1/services/{service}/slots/{from}/drain"));
            self.drain = Some(Drain {
                slot: from,
                until: Instant::now() + time,
                status: None,
                told: String::new(),
                told_at: None,
            });
        }
    }

    fn draw(&mut self, session: &mut Session<'_>) {
        let now = Instant::now();
        if let Some(drain) = &mut self.drain {
            drain.draw(self.live, now, session);
        } else if !self.live {
            self.progress.lines(now).iter().for_each(|line| session.progress(line));
        } else if let Some(line) = self.progress.line(now) {
            session.live(&line);
        }
    }

    /// Leaves what the gate came to in lines that stay; a test's report says it anyway.
    fn end_gate(&mut self, session: &mut Session<'_>) {
        let now = Instant::now();
        let lines = if self.live { self.progress.line(now).into_iter().collect() } else { self.progress.lines(now) };
        let reported = self.live && self.what.gate.purpose == GatePurpose::Test;
        if (!self.live || self.progress.has_ended()) && !reported {
            lines.iter().for_each(|line| session.progress(line));
        }
    }

    fn end(&mut self, session: &mut Session<'_>) {
        if self.drain.is_none() {
            self.end_gate(session);
        }
        session.live("");
    }
}

impl Drain {
    fn draw(&mut self, live: bool, now: Instant, session: &mut Session<'_>) {
        let Some(status) = &self.status else { return };
        let text = format!("{}: {}", self.slot, render::drain_left(status));
        let left = self.until.saturating_duration_since(now).as_secs() * 1000;
        if live {
            return session.live(&format!("{text}; {} left", render::short_time(left)));
        }
        let due = self.told_at.is_none_or(|told| now - told >= DETAIL_EVERY);
        let count = status.in_flight.total.to_string();
        if due && count != self.told {
            session.progress(&text);
            (self.told, self.told_at) = (count, Some(now));
        }
    }
}

fn drain_goes_on(service: &ServiceName, from: Slot, to: Slot) -> String {
    format!("{to} serves, and {from} goes on draining; to wait for it: verdigris drain {service} {from} --wait")
}

/// Often enough for a clock that shows seconds.
const TICK: Duration = Duration::from_millis(250);
const REST_TIME_MAX: Duration = Duration::from_millis(200);
/// For a gate that nothing was heard of: most likely there was none.
const FIRST_TIME_MAX: Duration = Duration::from_millis(50);
