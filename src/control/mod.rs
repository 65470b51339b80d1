//! THE ONLY WRITER: one task; receive → apply → journal → publish → announce.
//!
//! Invariants: nothing else changes what is published; a change is in the journal before traffic moves; slow work runs
//! in tasks that report back, the controller waits for none of them but the journal's fsync and, at a reload, the state's;
//! what a change costs does not grow with the number of services that it leaves alone; a gate whose outcome nobody needs
//! any more is given up at once.
//! Never: requests. It knows the data plane only through the table, the tenures and the workers' inboxes.

mod apply;
mod clock;
mod controller;
mod describe;
mod effects;
mod entry;
mod gates;
mod handle;
mod handle_gates;
mod message;
mod news;
mod overview;
mod plan;
mod preview;
mod record;
mod recording;
mod refusal;
mod reload;
mod reload_job;
mod saver;
mod tls;
mod trial;
mod trials;
mod under_way;
mod unhurried;

pub use controller::{ControllerOptions, StartError, start};
pub use gates::{GateFiles, GoldenSets, read_golden_files};
pub use handle::Handle;
pub use preview::{Previews, read_preview_tokens};
pub use tls::{TlsClients, read_tls_files};
