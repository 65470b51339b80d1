//! Verdigris.

pub mod api;
pub mod config;
pub mod ids;
pub mod store;
pub mod upstream;
