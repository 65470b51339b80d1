//! Verdigris.

pub mod api;
pub mod config;
pub mod demo;
pub mod ids;
