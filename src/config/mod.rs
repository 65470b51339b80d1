//! The file: schema (TOML as written) → settings (typed, complete), problems with file, line and hint, and the watch.

pub mod settings;
