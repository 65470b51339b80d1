//! Verdigris.

pub mod api;
pub mod config;
pub mod ids;
pub mod net;
pub mod proxy;
pub mod switch;
pub mod table;
pub mod telemetry;
pub mod upstream;
