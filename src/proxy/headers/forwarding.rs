//! What the upstream is told of the client, and whose word about it is taken.
//!
//! Anybody can write `X-Forwarded-For`. So from a peer that is not listed in `trusted_proxies` these fields are dropped
//! and written anew; from a listed one they are kept and extended.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Seen, X_REQUEST_ID, first};
use crate::proxy::exchange::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that tell of a client and are not written anew in any case.
static TOLD: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
];

/// Sets what the upstream is to know of the client. Called after `end_hop`, so that a client cannot have it stripped.
pub(in crate::proxy) fn set_forwarding(fields: &mut HeaderMap, seen: Seen, exchange: &Exchange) {
    let address = &exchange.client.address;
    // For these, and for the answer's fields: the HTTP library reads them into the same memory.
    fields.reserve(8);
    let scheme = if exchange.client.conn.is_tls() { HTTPS } else { HTTP };
    if exchange.peer_is_trusted {
        extend(fields, exchange.peer(), address, scheme);
    } else {
        if seen.has(Seen::TOLD) {
            forget(fields);
        }
        fields.insert(X_FORWARDED_FOR, address.clone());
        fields.insert(X_FORWARDED_PROTO, scheme);
        if let Some(host) = first(fields, &header::HOST).cloned() {
            fields.insert(X_FORWARDED_HOST, host);
        }
    }
    fields.insert(X_REQUEST_ID, exchange.request_id.clone());
}

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Drops what a stranger says of clients.
fn forget(fields: &mut HeaderMap) {
    for name in &TOLD {
        fields.remove(name);
    }
}

/// Adds to what a trusted proxy says.
fn extend(fields: &mut HeaderMap, peer: IpAddr, address: &HeaderValue, scheme: HeaderValue) {
    let host = first(fields, &header::HOST).cloned();
    if fields.contains_key(header::FORWARDED)
        && let Ok(element) = HeaderValue::from_bytes(&forwarded_element(peer, host.as_ref(), &scheme))
    {
        append(fields, header::FORWARDED, &element);
    }
    append(fields, X_FORWARDED_FOR, address);
    fields.entry(X_FORWARDED_PROTO).or_insert(scheme);
    if let Some(host) = host {
        fields.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// Adds a member at the end of a list, which is one line afterwards: many servers read only the first.
fn append(fields: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    let mut list: Vec<u8> = Vec::new();
    for value in fields.get_all(&name).iter().chain([member]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(value.as_bytes());
    }
    fields.insert(name, HeaderValue::from_bytes(&list).unwrap_or_else(|_| member.clone()));
}

/// This hop in the words of RFC 7239 section 4.
fn forwarded_element(peer: IpAddr, host: Option<&HeaderValue>, scheme: &HeaderValue) -> Vec<u8> {
    let mut element = match peer {
        IpAddr::V4(peer) => format!("for={peer}"),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\""),
    }
    .into_bytes();
    if let Some(host) = host {
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(host.as_bytes());
        element.push(b'"');
    }
    element.extend_from_slice(b";proto=");
    element.extend_from_slice(scheme.as_bytes());
    element
}

/// The client behind trusted proxies: the last address in `X-Forwarded-For` that none of them has. Where that list is
/// no list of addresses, the last hop that is known.
pub(in crate::proxy) fn client_behind(fields: &HeaderMap, peer: IpAddr, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut known = peer;
    let lines: Vec<&HeaderValue> = fields.get_all(X_FORWARDED_FOR).iter().collect();
    let members = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for member in members {
        let Some(address) = std::str::from_utf8(member).ok().and_then(read_address) else { break };
        known = address;
        if !trusts(address) {
            break;
        }
    }
    known
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn read_address(member: &str) -> Option<IpAddr> {
    let member = member.trim();
    let bare = match member.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if member.matches(':').count() == 1 => member.split_once(':')?.0,
        None => member,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::fields, *};

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let trusts = |address: IpAddr| address.to_string().starts_with("10.");
        for (lines, client) in [
            (&[][..], "10.0.0.9"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),
            (&["6.6.6.6", "192.0.2.1 ,10.0.0.1", "10.0.0.2"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1:8080"], "192.0.2.1"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, unknown, 10.0.0.1"], "10.0.0.1"),
            (&["6.6.6.6, "], "10.0.0.9"),
            (&["<script>"], "10.0.0.9"),
        ] {
            let list: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let found = client_behind(&fields(&list), IpAddr::from([10, 0, 0, 9]), trusts);
            assert_eq!(found.to_string(), client, "{lines:?}");
        }
    }

    #[test]
    fn a_hop_is_written_as_rfc_7239_wants_it() {
        let element = |peer: &str, host: Option<&'static str>| {
            let host = host.map(HeaderValue::from_static);
            String::from_utf8(forwarded_element(peer.parse().unwrap(), host.as_ref(), &HTTP)).unwrap()
        };
        assert_eq!(element("192.0.2.1", Some("h:80")), "for=192.0.2.1;host=\"h:80\";proto=http");
        assert_eq!(element("2001:db8::1", None), "for=\"[2001:db8::1]\";proto=http");
    }

    #[test]
    fn strangers_words_are_dropped() {
        assert!(TOLD.iter().all(|name| Seen::kind(name) == Seen::TOLD));
        let told: Vec<_> =
            TOLD.iter().map(|name| (name.as_str(), "x")).chain([("accept", "*/*"), ("x-real-ip", "y")]).collect();
        let mut map = fields(&told);
        forget(&mut map);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
