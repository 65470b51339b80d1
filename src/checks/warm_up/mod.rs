//! The warm-up step: an endpoint is sent requests, more and more at once, until it answers evenly.
//!
//! `step` warms every endpoint at the same time and reports; `furnace` is one endpoint with its connections, window after
//! window; `rule` decides from the windows alone whether it is warm; `sample` chooses what is sent.
//!
//! Invariants: a step ends within the limit it is given, whatever the servers do; what is sent is a request that an
//! operator wrote; a failed request is no measurement.
//! Never: what an answer says. Golden requests are judged in the step before.

mod furnace;
mod rule;
mod sample;
mod step;

#[cfg(test)]
mod rule_tests;

pub(super) use step::warm_up;
