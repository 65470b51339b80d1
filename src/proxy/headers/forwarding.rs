//! What the upstream is told of the client.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use super::{X_REQUEST_ID, X_VERDIGRIS_SLOT};
use crate::proxy::exchange::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Sets what the upstream is to know of the client. Called after `end_hop`, so that a client cannot have it stripped.
pub(in crate::proxy) fn set_forwarding(fields: &mut HeaderMap, exchange: &Exchange) {
    let address = &exchange.client.address;
    fields.reserve(4);
    match fields.entry(X_FORWARDED_FOR) {
        Entry::Vacant(vacant) => {
            vacant.insert(address.clone());
        }
        Entry::Occupied(mut occupied) => {
            let mut list: Vec<u8> = Vec::new();
            for value in occupied.iter().chain([address]) {
                if !list.is_empty() {
                    list.extend_from_slice(b", ");
                }
                list.extend_from_slice(value.as_bytes());
            }
            let joined = HeaderValue::from_bytes(&list).unwrap_or_else(|_| address.clone());
            occupied.insert(joined);
        }
    }
    let scheme = if exchange.client.conn.is_tls() { "https" } else { "http" };
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = fields.get(header::HOST).cloned() {
        fields.insert(X_FORWARDED_HOST, host);
    }
    fields.insert(X_REQUEST_ID, exchange.request_id.clone());
    fields.remove(X_VERDIGRIS_SLOT);
}
