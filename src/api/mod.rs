//! The admin API's JSON types: what the server writes, what the CLI reads, what OpenAPI describes.
//!
//! Invariants: durations are milliseconds with the unit in the name; times are RFC 3339 in UTC; optional fields are
//! left out, never `null`. Never: behaviour.

mod change;
mod gate;
mod history;
mod problem;
mod recording;
mod status;

pub use change::{
    ChangeOutcome, ChangeReply, DrainRequest, EndpointSpec, ReloadReply, RollbackRequest, SlotUpdate, SwitchRequest,
    TestReply, TestRequest, WaitFor,
};
pub use gate::{
    CancelReply, DryRun, GateNews, GateProgress, GatePurpose, GateReport, GateStep, PlannedStep, RunningStep,
    StepResult, Tested, UnderWay,
};
pub use history::{Action, EndpointAddresses, Event, History, HistoryEntry, Outcome, SlotContents};
pub use problem::{Problem, ProblemKind};
pub use recording::{RecordEnd, RecordLeftOut, RecordProgress, RecordReply, RecordRequest};
pub use status::{
    DrainStatus, EndpointHealth, EndpointStatus, InFlight, ProxyStatus, ReloadStatus, RollbackStatus, ServiceList,
    ServiceStatus, SlotPhase, SlotStatus,
};
