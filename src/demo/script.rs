//! The script: blue → green → rollback → green → drain → delete blue, under load, in about 15 seconds.

use std::{io::Write, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    HASTE, Server,
    admin::{Admin, AdminError},
    classifier::Version,
    ledger::{Ledger, Observation},
    session::{Session, Stop},
};
use crate::{
    api::{ChangeReply, RollbackRequest, SwitchRequest, WaitFor},
    ids::Slot,
};

/// How long each version serves before the next step.
const BLUE_FIRST: Duration = Duration::from_millis(3000 / HASTE);
const GREEN_FIRST: Duration = Duration::from_millis(3000 / HASTE);
const BLUE_AGAIN: Duration = Duration::from_millis(2000 / HASTE);
const GREEN_ALONE: Duration = Duration::from_millis(2000 / HASTE);

/// What the switch may wait for the drain; a stream lasts two seconds.
const DRAIN_TIMEOUT: &str = "30s";

/// Plays the script; `blue` is taken and stopped once it is safe to delete.
pub(super) async fn play<W: Write, F: Future>(
    session: &mut Session<'_, W, F>,
    blue: &mut Option<Server>,
) -> Result<(), Stop> {
    hold(session, "1  blue serves", BLUE_FIRST).await?;

    change(session, "2  switch to green", Order::Switch(switch_to_green(None))).await?;
    hold(session, "   green serves", GREEN_FIRST).await?;

    change(session, "3  roll back: say green is worse", Order::Rollback(rollback())).await?;
    hold(session, "   blue serves again", BLUE_AGAIN).await?;

    let order = Order::Switch(switch_to_green(Some(WaitFor::Drained)));
    let reply = change(session, "4  switch to green for good, and wait until blue is drained", order).await?;
    let verdict = drained(&reply)?;
    session.watch.say(&format!("   blue: safe_to_delete: true ({verdict})"))?;

    session.watch.say("5  delete blue: its server is killed, with every connection it has")?;
    if let Some(server) = blue.take() {
        server.stop().await;
    }
    hold(session, "   green serves alone", GREEN_ALONE).await
}

enum Order {
    Switch(SwitchRequest),
    Rollback(RollbackRequest),
}

impl Order {
    async fn send(&self, admin: Admin) -> Result<ChangeReply, AdminError> {
        match self {
            Order::Switch(order) => admin.switch(order).await,
            Order::Rollback(order) => admin.rollback(order).await,
        }
    }
}

fn switch_to_green(wait: Option<WaitFor>) -> SwitchRequest {
    let timeout = wait.map(|_| DRAIN_TIMEOUT.to_owned());
    SwitchRequest { to: Some(Slot::Green), reason: Some("demo".to_owned()), wait, timeout, ..SwitchRequest::default() }
}

fn rollback() -> RollbackRequest {
    RollbackRequest { reason: Some("demo: green is worse".to_owned()), ..RollbackRequest::default() }
}

async fn hold<W: Write, F: Future>(session: &mut Session<'_, W, F>, step: &str, time: Duration) -> Result<(), Stop> {
    session.watch.say(&format!("{step} ({} s)", time.as_secs_f64()))?;
    session.during(sleep(time)).await
}

/// The looks before and after let the ledger tell stale answers from those that ran across the switch.
async fn change<W: Write, F: Future>(
    session: &mut Session<'_, W, F>,
    step: &str,
    order: Order,
) -> Result<ChangeReply, Stop> {
    session.watch.say(step)?;
    session.watch.look().await?;
    let (admin, ledger) = (session.admin, std::sync::Arc::clone(&session.ledger));
    let reply = session.during(sent(admin, &ledger, &order)).await??;
    session.watch.look().await?;
    session.watch.say(&format!("   {}", reply.message))?;
    Ok(reply)
}

/// From the moment the call has returned, whatever is sent must reach the slot that it named.
async fn sent(admin: Admin, ledger: &Ledger, order: &Order) -> Result<ChangeReply, AdminError> {
    let asked = Instant::now();
    let reply = order.send(admin).await?;
    let version = match reply.active {
        Slot::Blue => Version::One,
        Slot::Green => Version::Two,
    };
    let generation = reply.generation;
    ledger.observe(Observation { asked, answered: Instant::now(), generation, version: Some(version) });
    Ok(reply)
}

/// The drain's verdict in words, if blue may be deleted.
fn drained(reply: &ChangeReply) -> Result<String, Stop> {
    match &reply.drain {
        Some(drain) if drain.safe_to_delete => Ok(drain.why.clone()),
        Some(drain) => Err(Stop::NotDrained(drain.why.clone())),
        None => Err(Stop::NotDrained("the switch's answer has no drain".to_owned())),
    }
}
