//! One file for each client command: its arguments, what it asks, what it shows, how it ends.
//!
//! Never: connecting (that is `client`), aligning (that is `page`).

pub(super) mod cancel;
mod change;
pub(super) mod deploy;
pub(super) mod drain;
mod dry_run;
pub(super) mod golden;
pub(super) mod history;
mod ready;
pub(super) mod record;
pub(super) mod reload;
pub(super) mod rollback;
pub(super) mod status;
pub(super) mod switch;
pub(super) mod test;

#[cfg(test)]
pub(super) mod samples;

pub use cancel::CancelArgs;
pub use change::{ChangeArgs, WaitArgs};
pub use deploy::DeployArgs;
pub use drain::DrainArgs;
pub use golden::{GoldenArgs, GoldenCheckArgs, GoldenCommand};
pub use history::HistoryArgs;
pub use record::GoldenRecordArgs;
pub use reload::ReloadArgs;
pub use rollback::RollbackArgs;
pub use status::StatusArgs;
pub use switch::SwitchArgs;
pub use test::TestArgs;

use crate::ids::{ServiceName, Slot};

fn service_path(service: &ServiceName) -> String {
    format!("/v1/services/{service}")
}

fn slot_path(service: &ServiceName, slot: Slot) -> String {
    format!("/v1/services/{service}/slots/{slot}")
}
