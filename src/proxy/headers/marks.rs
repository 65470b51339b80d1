//! What the proxy says of an answer: which slot it comes from, and which request it belongs to.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Seen, X_REQUEST_ID, X_VERDIGRIS_SLOT};
use crate::{config::settings::HeaderEdits, proxy::exchange::Exchange, upstream::edit};

const X_VERDIGRIS_VERSION: HeaderName = HeaderName::from_static("x-verdigris-version");
const X_VERDIGRIS_ERROR: HeaderName = HeaderName::from_static("x-verdigris-error");

/// Makes the operator's edits in an answer; says what it has then.
pub(in crate::proxy) fn edit_answer(fields: &mut HeaderMap, seen: Seen, edits: &HeaderEdits) -> Seen {
    if edits.is_empty() {
        return seen;
    }
    edit(fields, edits);
    Seen::of(fields)
}

/// Marks an answer with the slot and version that it comes from, and the request's id.
pub(in crate::proxy) fn mark(fields: &mut HeaderMap, seen: Seen, exchange: &Exchange) {
    exchange.with_held(|held| {
        fields.insert(X_VERDIGRIS_SLOT, HeaderValue::from_static(held.slot.table.slot.as_str()));
        match &held.slot.table.version {
            Some(version) => {
                fields.insert(X_VERDIGRIS_VERSION, version.clone());
            }
            None if seen.has(Seen::X_VERDIGRIS_VERSION) => {
                fields.remove(X_VERDIGRIS_VERSION);
            }
            None => {}
        }
    });
    let mut id = exchange.request_id.clone();
    if exchange.client.conn.learns_names() {
        id.set_sensitive(false);
    }
    fields.insert(X_REQUEST_ID, id);
}

/// An upstream's answer must not pass for one of the proxy's own.
pub(in crate::proxy) fn disown(fields: &mut HeaderMap, seen: Seen) {
    if seen.has(Seen::X_VERDIGRIS_ERROR) {
        fields.remove(X_VERDIGRIS_ERROR);
    }
}
