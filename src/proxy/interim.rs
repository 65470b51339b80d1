//! Answers of class 1xx on their way from the upstream to the client.
//!
//! A proxy must pass them on (RFC 9110 section 15.2). hyper tells of an upstream's, and cannot send any itself, so they
//! go to the client's stream as text. Only HTTP/1.1 has a way for them here: hyper's HTTP/2 tells of none.

use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode, header};

use super::headers::{self, Seen};
use crate::{
    net::ClientConn,
    upstream::{Expectation, RequestBody},
};

/// Passes on what the upstream says before its answer. `100 Continue` opens the body of a request that waits for it;
/// hyper tells the client as soon as the body is read.
pub(super) fn pass_on(
    request: &mut Request<RequestBody>,
    client: &Arc<ClientConn>,
    expectation: Option<Arc<Expectation>>,
) {
    let client = client.clone();
    hyper::ext::on_informational(request, move |answer| match (&expectation, answer.status()) {
        (Some(expectation), StatusCode::CONTINUE) => expectation.fulfil(),
        (_, status) => client.send_interim(&text(status, answer.headers())),
    });
}

fn text(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut fields = fields.clone();
    let seen = Seen::of(&fields);
    headers::end_hop(&mut fields, seen);
    // There is no body that it could be the length of (RFC 9110 section 8.6).
    fields.remove(header::CONTENT_LENGTH);
    headers::disown(&mut fields, seen);
    let reason = status.canonical_reason().unwrap_or_default();
    headers::in_text(&format!("HTTP/1.1 {} {reason}", status.as_str()), fields.iter())
}
