//! The head of a request as its service's `[service.request]` wants it: path, `Host`, fields.
//!
//! The prefix comes off before anything else looks at the path: what the server sees decides whether a request is
//! inference and may be sent again, because it is the server that would do the work twice. Routing looked at the
//! client's own path before.

use http::{Request, request::Parts};

use super::answer::Failure;
use crate::{config::settings::RequestRules, telemetry::FailureKind, upstream};

/// Rewrites the head. The forwarding fields must have been set: they tell of the client's own `Host`.
pub(super) fn rewrite(head: &mut Parts, rules: &RequestRules) -> Result<(), Failure> {
    upstream::apply(rules, head)
        .map_err(|_invalid| Failure::new(FailureKind::BadRequest, "the path cannot be sent without its prefix"))
}

/// A head that says nothing, in the place of one that was taken.
pub(super) fn no_head() -> Parts {
    Request::new(()).into_parts().0
}

/// A copy without the extensions: they hold the case of the header names, which costs as much to copy as the names
/// themselves, and a second attempt can do without.
pub(super) fn copy(head: &Parts) -> Parts {
    let mut copy = no_head();
    copy.method.clone_from(&head.method);
    copy.uri.clone_from(&head.uri);
    copy.version = head.version;
    copy.headers.clone_from(&head.headers);
    copy
}
