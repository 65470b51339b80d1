//! Server-sent events as a model server streams them: events out of bytes, then tokens out of events.
//!
//! Invariant: what comes out does not depend on how the bytes were cut into pieces, only its times do; memory is bounded.

mod sse;
mod tokens;

#[cfg(test)]
mod tests;

pub use sse::{SseError, SseEvent, SseParser};
pub(super) use tokens::TokenStream;
