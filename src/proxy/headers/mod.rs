//! Header fields on their way through: hop-by-hop fields end here, forwarding fields are set, the rest is untouched.
//!
//! Invariants: what is set here is set after the hop-by-hop fields have ended, so that a client cannot have it stripped;
//! an upstream's answer cannot pass for one of the proxy's own.
//! Never: the body, the route, a decision about a replay.

mod edits;
mod forwarding;
mod hop;
mod marks;
mod seen;
#[cfg(test)]
mod testing;
mod text;

use http::HeaderName;

pub(super) use edits::{edit, edit_answer};
pub(super) use forwarding::{client_behind, set_forwarding};
pub(super) use hop::{add_via, end_hop, join_cookies, keep_alive_timeout, says_close, upgrade_wanted};
pub(super) use marks::{disown, mark};
pub(super) use seen::{Seen, first, has};
pub(super) use text::in_text;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The slot that a caller chooses; on answers, the one that served.
pub(super) const X_VERDIGRIS_SLOT: HeaderName = HeaderName::from_static("x-verdigris-slot");
/// What a caller shows that chooses a slot, where `authorization` is the server's own.
pub(super) const X_VERDIGRIS_TOKEN: HeaderName = HeaderName::from_static("x-verdigris-token");
