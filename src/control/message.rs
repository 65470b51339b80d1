//! What the controller is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    api::{ChangeReply, GateReport, Problem, ReloadReply},
    config::SlotSettings,
    ids::{Generation, ServiceName, Slot},
    switch::{Ask, OpId},
    upstream::{health::EndpointNews, lease::Tenure},
};

/// A request for a change of one service.
#[derive(Debug)]
pub(super) struct AskMessage {
    pub(super) service: String,
    pub(super) ask: Ask,
    /// What to put into the slot, for [`Ask::Replace`].
    pub(super) contents: Option<SlotSettings>,
    pub(super) if_generation: Option<Generation>,
    pub(super) force: bool,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) reply: oneshot::Sender<Result<ChangeReply, Problem>>,
}

/// The gates that a reload needed, by service.
pub(super) type ReloadGates = Vec<(ServiceName, SlotSettings, GateReport)>;

#[derive(Debug)]
pub(super) enum Message {
    Ask(Box<AskMessage>),
    GateDone {
        service: ServiceName,
        op: OpId,
        report: GateReport,
    },
    /// Read the config file and do what it says.
    Reload {
        actor: String,
        reply: Option<oneshot::Sender<Result<ReloadReply, Problem>>>,
    },
    ReloadGated {
        gates: ReloadGates,
    },
    Endpoint(EndpointNews),
    /// A retired tenure has no lease left.
    Drained {
        service: ServiceName,
        slot: Slot,
        tenure: Arc<Tenure>,
    },
    /// Cut what runs on these tenures of the slot that are retired.
    Cut {
        service: ServiceName,
        slot: Slot,
        tenures: Vec<Arc<Tenure>>,
        actor: String,
    },
    /// No further changes; answers when everything before it is done.
    Stop {
        reply: oneshot::Sender<()>,
    },
}
