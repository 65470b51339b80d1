//! What control may ask of the workers about leases and idle connections, without knowing what a worker is.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::lease::Tenure;
use crate::{
    config::settings::ClientRules,
    ids::{EndpointId, ServiceName, Slot},
};

/// An order to one worker.
pub enum Order {
    /// Close idle upstream connections to these endpoints.
    CloseIdle(Arc<[EndpointId]>),
    /// Open connections to these endpoints of a slot that may soon serve, as many as the slot that serves has.
    Connect { ahead: Arc<Ahead>, reply: oneshot::Sender<Opened> },
    /// Say how old the oldest lease of each tenure is, in the order asked.
    Oldest { tenures: Arc<[Arc<Tenure>]>, reply: oneshot::Sender<Vec<Option<Duration>>> },
    /// Cut every lease of these tenures, or all; say how many.
    Cut { tenures: Option<Arc<[Arc<Tenure>]>>, reply: oneshot::Sender<u64> },
    /// New rules for clients: for new connections, and from the next tick on.
    Clients(Arc<ClientRules>),
}

/// What is to be connected to before there are requests for it.
#[derive(Clone, Debug)]
pub struct Ahead {
    pub service: ServiceName,
    pub slot: Slot,
    pub endpoints: Vec<EndpointId>,
    /// For each connection, TLS handshake included.
    pub within: Duration,
}

/// What workers have opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub connections: usize,
    /// Connections that were not to be had, …
    pub failed: usize,
    /// … and why one of them was not.
    pub reason: Option<String>,
}

/// All workers, as control sees them.
#[derive(Clone, Debug)]
pub struct Workers {
    inboxes: Arc<[mpsc::Sender<Order>]>,
}

impl Workers {
    pub fn new(inboxes: impl IntoIterator<Item = mpsc::Sender<Order>>) -> Self {
        Self { inboxes: inboxes.into_iter().collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inboxes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.inboxes.is_empty()
    }

    /// How many have ended, which none does before the shutdown but by a defect.
    pub fn ended(&self) -> usize {
        self.inboxes.iter().filter(|inbox| inbox.is_closed()).count()
    }

    /// Closes idle connections to these endpoints; returns when every worker has been told.
    pub async fn close_idle(&self, endpoints: Vec<EndpointId>) {
        let endpoints: Arc<[EndpointId]> = endpoints.into();
        for inbox in self.inboxes.iter() {
            // A worker that has ended has no connections.
            let _ = inbox.send(Order::CloseIdle(endpoints.clone())).await;
        }
    }

    /// Gives the workers new rules for clients.
    pub async fn clients(&self, rules: ClientRules) {
        let rules = Arc::new(rules);
        for inbox in self.inboxes.iter() {
            // A worker that has ended has no clients.
            let _ = inbox.send(Order::Clients(rules.clone())).await;
        }
    }

    /// The age of the oldest lease of each tenure.
    pub async fn oldest(&self, tenures: Vec<Arc<Tenure>>) -> Vec<Option<Duration>> {
        let tenures: Arc<[Arc<Tenure>]> = tenures.into();
        let mut oldest = vec![None; tenures.len()];
        let make = |reply| Order::Oldest { tenures: tenures.clone(), reply };
        for ages in self.ask(make).await {
            for (known, age) in oldest.iter_mut().zip(ages) {
                *known = age.max(*known);
            }
        }
        oldest
    }

    /// Cuts every lease of these tenures (`None`: of all); returns how many.
    pub async fn cut(&self, tenures: Option<Vec<Arc<Tenure>>>) -> u64 {
        let tenures: Option<Arc<[Arc<Tenure>]>> = tenures.map(Into::into);
        let make = |reply| Order::Cut { tenures: tenures.clone(), reply };
        self.ask(make).await.into_iter().sum()
    }

    /// Has every worker open connections; returns when they have, or have failed to.
    pub async fn connect(&self, ahead: Ahead) -> Opened {
        let ahead = Arc::new(ahead);
        let make = |reply| Order::Connect { ahead: ahead.clone(), reply };
        let mut all = Opened::default();
        for one in self.ask(make).await {
            all.connections += one.connections;
            all.failed += one.failed;
            all.reason = all.reason.or(one.reason);
        }
        all
    }

    async fn ask<T>(&self, make: impl Fn(oneshot::Sender<T>) -> Order) -> Vec<T> {
        let mut replies = Vec::with_capacity(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            let (reply, answer) = oneshot::channel();
            if inbox.send(make(reply)).await.is_ok() {
                replies.push(answer);
            }
        }
        let mut answers = Vec::with_capacity(replies.len());
        for answer in replies {
            answers.extend(answer.await.ok());
        }
        answers
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::CloseIdle(_) => "CloseIdle",
            Order::Connect { .. } => "Connect",
            Order::Oldest { .. } => "Oldest",
            Order::Cut { .. } => "Cut",
            Order::Clients(_) => "Clients",
        })
    }
}
