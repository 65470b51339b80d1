//! The eye on the proxy: asks the admin API four times a second, prints a line each second and every change it sees.

use std::{convert::Infallible, io, io::Write, sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    admin::{Admin, AdminError},
    classifier::Version,
    ledger::{Ledger, Observation},
    report::{self, Second},
};
use crate::{
    api::{ServiceStatus, SlotPhase},
    ids::{Generation, Slot},
};

/// Between two looks at the admin API.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks between two printed lines.
const LOOKS_PER_LINE: u32 = 4;

/// Watches and prints for as long as it is polled; keeps its place when it is cancelled and started again.
#[derive(Debug)]
pub(super) struct Watch<'a, W> {
    out: &'a mut W,
    admin: Admin,
    ledger: Arc<Ledger>,
    started: Instant,
    /// When the last line was printed.
    line_at: Instant,
    ticks: Interval,
    looks: u32,
    faults: u64,
    serving: Option<Serving>,
    /// So that an admin API that is away is told of once, not four times a second.
    admin_away: bool,
}

/// What the admin API said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Serving {
    generation: Generation,
    active: Slot,
    /// The phase of the slot that does not serve, and what still runs on it.
    standby: SlotPhase,
    draining: u64,
}

impl<'a, W: Write> Watch<'a, W> {
    pub(super) fn new(out: &'a mut W, admin: Admin, ledger: Arc<Ledger>) -> Self {
        let started = Instant::now();
        let mut ticks = interval_at(started + LOOK_EVERY, LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            out,
            admin,
            ledger,
            started,
            line_at: started,
            ticks,
            looks: 0,
            faults: 0,
            serving: None,
            admin_away: false,
        }
    }

    /// Watches until it is dropped or nothing can be printed any more. Cancelling it loses no line and no count.
    pub(super) async fn run(&mut self) -> io::Result<Infallible> {
        loop {
            self.ticks.tick().await;
            self.looks += 1;
            if self.looks.is_multiple_of(LOOKS_PER_LINE) {
                self.print_line()?;
            }
            self.look().await?;
        }
    }

    /// Asks the admin API once and prints what has changed.
    pub(super) async fn look(&mut self) -> io::Result<()> {
        let asked = Instant::now();
        match self.admin.status().await {
            Ok(status) => self.learn(asked, &status),
            Err(error) => self.admin_failed(&error),
        }
    }

    /// Prints a line of text.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Since the load began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn learn(&mut self, asked: Instant, status: &ServiceStatus) -> io::Result<()> {
        let version = status.slots[status.active].version.as_deref();
        self.ledger.observe(Observation {
            asked,
            answered: Instant::now(),
            generation: status.generation,
            version: version.and_then(Version::parse),
        });
        let other = &status.slots[status.active.other()];
        let now = Serving {
            generation: status.generation,
            active: status.active,
            standby: other.phase,
            draining: other.drain.in_flight.total,
        };
        self.admin_away = false;
        let before = self.serving.replace(now);
        before.map_or(Ok(()), |before| self.print_changes(before, now, version))
    }

    fn print_changes(&mut self, before: Serving, now: Serving, version: Option<&str>) -> io::Result<()> {
        if before.generation != now.generation {
            let (generation, active) = (now.generation, now.active);
            let version = version.unwrap_or("unnamed");
            let verb = if before.active == active { "still serves" } else { "serves now" };
            self.say(&format!("  ==> {active} (version {version}) {verb}, generation {generation}"))?;
        }
        let was_drained = before.standby == SlotPhase::Drained && before.active == now.active;
        if now.standby == SlotPhase::Drained && !was_drained {
            self.say(&format!("  ==> {} is drained: nothing runs on it any more", now.active.other()))?;
        }
        Ok(())
    }

    fn admin_failed(&mut self, error: &AdminError) -> io::Result<()> {
        if std::mem::replace(&mut self.admin_away, true) {
            return Ok(());
        }
        self.say(&format!("  ==> {error}"))
    }

    fn print_line(&mut self) -> io::Result<()> {
        let window = self.ledger.take_window();
        let now = Instant::now();
        self.faults += window.faults();
        let line = report::line(&Second {
            elapsed: now - self.started,
            active: self.serving.map(|serving| serving.active),
            window: &window,
            length: now - self.line_at,
            streams_open: self.ledger.streams_open(),
            draining: self.serving.map_or(0, |serving| serving.draining),
            faults: self.faults,
        });
        self.line_at = now;
        self.say(&line)
    }
}
