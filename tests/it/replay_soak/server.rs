//! A server that answers well and closes badly.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::support::wire::{Wire, parse_head, value};

/// What it does by itself.
#[derive(Clone, Debug)]
pub(super) enum Habit {
    /// Closes a connection that was idle for a random time between the two.
    CloseIdle { after_ms: Range<u64> },
    /// Answers 500 where it is asked to, and closes without saying so.
    CloseAfter500,
    /// Takes its time.
    Work { ms: Range<u64> },
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Closes every connection at once.
    Fin,
    Rst,
    /// Ends what is idle, finishes what is not, is away for a while and comes back.
    Restart {
        gap: Duration,
    },
    /// The same without finishing anything.
    Kill {
        gap: Duration,
    },
}

/// A running server; dropping it closes everything.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    habit: Habit,
    faults: watch::Sender<Option<Fault>>,
    accept: std::sync::Mutex<JoinHandle<()>>,
}

static SEED: AtomicU64 = AtomicU64::new(1);

/// The next number of a fixed sequence within these bounds.
pub(super) fn random(within: &Range<u64>) -> u64 {
    let mut mixed = SEED.fetch_add(0x9e37_79b9_7f4a_7c15, SeqCst);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    within.start + (mixed >> 33) % (within.end - within.start)
}

impl Server {
    pub(super) async fn start(habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let faults = watch::Sender::new(None);
        let accept = std::sync::Mutex::new(tokio::spawn(accept(listener, habit.clone(), faults.clone())));
        Self { addr, habit, faults, accept }
    }

    /// Returns when it is done, and the server serves again.
    pub(super) async fn suffer(&self, fault: Fault) {
        let gap = match fault {
            Fault::Fin | Fault::Rst => None,
            Fault::Restart { gap } | Fault::Kill { gap } => Some(gap),
        };
        if gap.is_some() {
            let old = std::mem::replace(&mut *self.accept.lock().unwrap(), tokio::spawn(async {}));
            old.abort();
            old.await.ok();
        }
        self.faults.send_replace(Some(fault));
        if let Some(gap) = gap {
            tokio::time::sleep(gap).await;
            let listener = TcpListener::bind(self.addr).await.unwrap();
            *self.accept.lock().unwrap() = tokio::spawn(accept(listener, self.habit.clone(), self.faults.clone()));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.lock().unwrap().abort();
    }
}

async fn accept(listener: TcpListener, habit: Habit, faults: watch::Sender<Option<Fault>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(Wire::new(stream), Arc::new(habit.clone()), faults.subscribe()));
    }
}

async fn connection(mut wire: Wire, habit: Arc<Habit>, mut faults: watch::Receiver<Option<Fault>>) {
    faults.borrow_and_update();
    let (mut leaving, mut used) = (false, false);
    let number = SEED.fetch_add(1, SeqCst);
    loop {
        let idle = idle_limit(&habit, used);
        let head = tokio::select! {
            head = wire.head() => match head {
                Ok(Some(head)) => head,
                Ok(None) | Err(_) => return,
            },
            () = idle => return,
            _ = faults.changed() => match *faults.borrow_and_update() {
                Some(Fault::Rst | Fault::Kill { .. }) => return wire.reset(),
                Some(Fault::Fin | Fault::Restart { .. }) | None => return,
            },
        };
        let answered = tokio::select! {
            answered = answer(&mut wire, &head, &habit, number) => answered,
            fault = abrupt(&mut faults, &mut leaving) => match fault {
                Fault::Fin => return,
                Fault::Rst | Fault::Restart { .. } | Fault::Kill { .. } => return wire.reset(),
            },
        };
        if !answered || leaving {
            return;
        }
        used = true;
    }
}

/// Waits for a fault that lets nothing be finished.
async fn abrupt(faults: &mut watch::Receiver<Option<Fault>>, leaving: &mut bool) -> Fault {
    loop {
        if faults.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        match *faults.borrow_and_update() {
            Some(Fault::Restart { .. }) => *leaving = true,
            Some(fault) => return fault,
            None => {}
        }
    }
}

/// As in uvicorn, the time of a connection that has not been used yet does not run.
async fn idle_limit(habit: &Habit, used: bool) {
    match habit {
        Habit::CloseIdle { after_ms } if used => tokio::time::sleep(Duration::from_millis(random(after_ms))).await,
        Habit::CloseIdle { .. } | Habit::CloseAfter500 | Habit::Work { .. } => std::future::pending().await,
    }
}

/// Reads the body and answers with it; false if the connection ends here.
async fn answer(wire: &mut Wire, head: &[u8], habit: &Habit, number: u64) -> bool {
    let Ok((line, fields)) = parse_head(head) else { return false };
    let length = value(&fields, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let Ok(body) = wire.exactly(length, "a body").await else { return false };
    if let Habit::Work { ms } = habit {
        tokio::time::sleep(Duration::from_millis(random(ms))).await;
    }
    let bad = line.contains("bad");
    let status = if bad { "500 Internal Server Error" } else { "200 OK" };
    let name = value(&fields, "x-name").unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nx-name: {name}\r\nx-connection: {number}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let sent = wire.send(&[head.as_bytes(), &body].concat()).await.is_ok();
    sent && !(bad && matches!(habit, Habit::CloseAfter500))
}
