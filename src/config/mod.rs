//! The file: schema (TOML as written) → settings (typed, complete), problems with file, line and hint, and the watch.
//!
//! Order of events: [`FileContent`] is read → `source` parses TOML and keeps the place of every key → `read` fills the
//! `schema` → `check` turns it into [`settings::Settings`] → [`Loaded`]. Each step reports every problem it can see.
//!
//! Invariants: [`settings::Settings`] are complete and right, or they do not exist; a default is written in one place
//! (`defaults`); a problem names file, line, column and key; [`Watcher`] speaks only when the *content* is another.
//! Never: what a service does now (the recorded state), what changed between two files, binding or connecting.

mod breather;
mod check;
mod content;
mod defaults;
mod endpoint;
mod locate;
mod pieces;
mod preview;
mod problems;
mod quantity;
mod read;
mod restart;
mod schema;
pub mod settings;
mod source;
mod spelling;
mod watch;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use breather::Breather;
pub use content::{FileContent, Loaded, load, parse};
pub use endpoint::BadEndpoint;
pub use preview::PreviewSettings;
pub use problems::{Place, Problem, Problems};
pub use quantity::{BadQuantity, parse_duration, parse_size};
pub use restart::needs_restart;
pub use settings::*;
pub use watch::{Marks, NamedFiles, Watcher};
