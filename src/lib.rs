//! Verdigris.

pub mod admin;
pub mod api;
pub mod app;
pub mod checks;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod ids;
pub mod net;
pub mod proxy;
pub mod store;
pub mod switch;
pub mod table;
pub mod telemetry;
pub mod upstream;
