//! What the controller is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::trials::TestEnd;
use crate::{
    api::{CancelReply, ChangeReply, GateReport, Problem, ReloadReply, TestReply},
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
    /// Take the place of another change whose gate runs.
    pub(super) supersede: bool,
    /// Answer as soon as the gate runs.
    pub(super) background: bool,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) reply: oneshot::Sender<Result<ChangeReply, Problem>>,
}

/// What a gate has seen that a reload needed.
#[derive(Debug)]
pub(super) struct ReloadGate {
    /// Which reload.
    pub(super) op: OpId,
    pub(super) service: ServiceName,
    pub(super) slot: Slot,
    /// What was tested.
    pub(super) contents: SlotSettings,
    pub(super) report: GateReport,
}

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
        /// A file that the config file names has changed, even if the config file itself has not.
        named_file: bool,
        reply: Option<oneshot::Sender<Result<ReloadReply, Problem>>>,
    },
    ReloadGated(Box<ReloadGate>),
    /// Call off what is being prepared for a service.
    Cancel {
        service: String,
        actor: String,
        reply: oneshot::Sender<Result<CancelReply, Problem>>,
    },
    /// Test a slot in the background.
    Test {
        service: String,
        slot: Slot,
        actor: String,
        reply: oneshot::Sender<Result<TestReply, Problem>>,
    },
    CancelTest {
        service: String,
        slot: Slot,
        actor: String,
        reply: oneshot::Sender<Result<CancelReply, Problem>>,
    },
    /// A test has ended; answers when that is noted.
    Tested {
        end: TestEnd,
        noted: Option<oneshot::Sender<()>>,
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
