//! Shadow: copies of live traffic. Today that is the tap, from which recordings are made.
//!
//! Flow: whoever wants copies opens a tap on a slot ([`Taps::open`]) and draws from its [`Outlet`]. A worker looks for one
//! once per request ([`TapReader::find`]); if it wants the request, the exchange carries a [`Tee`], which copies request and
//! answer as they pass and drops the whole into the outlet when both are complete.
//!
//! Invariants: a copy is the first thing to be given up: it is bounded by itself and together with all others of its tap,
//! is never waited for, and what does not fit is left out and counted; a tap ends with its outlet; without a tap a request
//! pays for one relaxed load.
//! Never: delays, fails or changes what it copies; credentials, if the tap is to leave them out; what copies are used for.

mod copied;
mod omission;
mod tap;
mod taps;
mod tee;
mod wanted;

#[cfg(test)]
mod tests;

pub use copied::Copied;
pub use omission::Omission;
pub use tap::{CopyBounds, Tap, TapCounts};
pub use taps::{Outlet, TapReader, Taps};
pub use tee::Tee;
pub use wanted::Wanted;
