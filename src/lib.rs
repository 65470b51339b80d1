//! Verdigris.

pub mod api;
pub mod checks;
pub mod cli;
pub mod config;
pub mod control;
pub mod ids;
pub mod net;
pub mod proxy;
pub mod store;
pub mod switch;
pub mod table;
pub mod telemetry;
pub mod upstream;
