//! What belongs to one connection and ends here (RFC 9110 section 7.6.1), and what HTTP/1.1 and HTTP/2 write differently.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::{Seen, X_VERDIGRIS_SLOT, X_VERDIGRIS_TOKEN};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The protocol that a request asks to change to, if it may be passed on: HTTP/1.1 only, and never `h2c`, which would
/// open a way around every later rule (RFC 9113 section 3.1).
pub(in crate::proxy) fn upgrade_wanted(version: Version, fields: &HeaderMap, seen: Seen) -> Option<HeaderValue> {
    if !seen.has(Seen::CONNECTION_OPTIONS)
        || version != Version::HTTP_11
        || !names_token(fields, &header::CONNECTION, "upgrade")
    {
        return None;
    }
    let wanted = fields.get(header::UPGRADE)?;
    let is_h2c =
        wanted.to_str().map_or(true, |text| text.to_ascii_lowercase().split(',').any(|one| one.trim() == "h2c"));
    (!is_h2c).then(|| wanted.clone())
}

/// True if a comma-separated field has this token, whatever its case.
fn names_token(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(fields, name).any(|one| one.eq_ignore_ascii_case(token))
}

fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Takes the hop-by-hop fields out, with all that `Connection` names (RFC 9110 section 7.6.1). `TE: trailers` stays,
/// because trailers pass. What is said to this proxy alone (the preview's fields) ends with them.
///
/// Over HTTP/1.1 a `TE` that is passed on needs a `Connection` that names it (RFC 9110 section 10.1.4), which is set here.
pub(in crate::proxy) fn end_hop(fields: &mut HeaderMap, seen: Seen) {
    if !seen.has(Seen::HOP_BY_HOP) {
        return;
    }
    if seen.has(Seen::CONNECTION_OPTIONS) {
        remove_named(fields);
    }
    let takes_trailers = seen.has(Seen::TE) && names_token(fields, &header::TE, "trailers");
    for (kind, name) in &HOP_BY_HOP {
        if seen.has(*kind) {
            fields.remove(name);
        }
    }
    if takes_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

static HOP_BY_HOP: [(Seen, HeaderName); 9] = [
    (Seen::CONNECTION, header::CONNECTION),
    (Seen::KEEP_ALIVE, KEEP_ALIVE),
    (Seen::PROXY_CONNECTION, HeaderName::from_static("proxy-connection")),
    (Seen::TRANSFER_ENCODING, header::TRANSFER_ENCODING),
    (Seen::UPGRADE, header::UPGRADE),
    (Seen::TE, header::TE),
    (Seen::HTTP2_SETTINGS, HeaderName::from_static("http2-settings")),
    (Seen::X_VERDIGRIS_SLOT, X_VERDIGRIS_SLOT),
    (Seen::X_VERDIGRIS_TOKEN, X_VERDIGRIS_TOKEN),
];

/// Removes what `Connection` names.
fn remove_named(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields, &header::CONNECTION)
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| {
            !is_framing(name) && !tells_of_the_client(name) && name != header::TE && name != header::CONNECTION
        })
        .collect();
    for name in named {
        fields.remove(name);
    }
}

/// Fields that no client may have taken away from what a trusted proxy says of it.
fn tells_of_the_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

/// Fields without which a message would not be itself; naming them in `Connection` does not remove them.
fn is_framing(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE].contains(name)
}

/// Names the proxy in the request's way, which a gateway must do (RFC 9110 section 7.6.3); on answers it may, and does
/// not.
pub(in crate::proxy) fn add_via(fields: &mut HeaderMap, received: Version) {
    let via = match received {
        Version::HTTP_10 => "1.0 verdigris",
        Version::HTTP_2 => "2 verdigris",
        _ => "1.1 verdigris",
    };
    fields.append(header::VIA, HeaderValue::from_static(via));
}

/// Joins cookie crumbs, which HTTP/1.1 has no other way to read (RFC 9113 section 8.2.3).
pub(in crate::proxy) fn join_cookies(fields: &mut HeaderMap, seen: Seen) {
    if !seen.has(Seen::COOKIE) {
        return;
    }
    let crumbs = fields.get_all(header::COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let joined = crumbs.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        fields.insert(header::COOKIE, value);
    }
}

/// The sender will close the connection after this message.
pub(in crate::proxy) fn says_close(fields: &HeaderMap, seen: Seen) -> bool {
    seen.has(Seen::CONNECTION_OPTIONS) && names_token(fields, &header::CONNECTION, "close")
}

/// How long the server says it keeps an idle connection: `Keep-Alive: timeout=5`.
pub(in crate::proxy) fn keep_alive_timeout(fields: &HeaderMap, seen: Seen) -> Option<std::time::Duration> {
    if !seen.has(Seen::KEEP_ALIVE) {
        return None;
    }
    tokens(fields, &KEEP_ALIVE).find_map(|token| {
        let (name, value) = token.split_once('=')?;
        let seconds = value.trim().parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| std::time::Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::fields, *};

    #[test]
    fn hop_by_hop_fields_end_here() {
        for (kind, name) in &HOP_BY_HOP {
            assert!(Seen::kind(name) == *kind && Seen::HOP_BY_HOP.has(*kind), "{name}");
        }
        let mut map = fields(&[
            ("connection", "close, X-Mine"),
            ("connection", "host, te"),
            ("x-mine", "1"),
            ("host", "h"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-verdigris-slot", "green"),
            ("x-verdigris-slot", "blue"),
            ("x-verdigris-token", "s3cret"),
            ("accept", "*/*"),
        ]);
        let seen = Seen::of(&map);
        end_hop(&mut map, seen);
        let mut left: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(left, [("accept", "*/*"), ("connection", "te"), ("host", "h"), ("te", "trailers")]);
    }

    #[test]
    fn only_websocket_like_upgrades_pass() {
        for (version, list, wanted) in [
            (Version::HTTP_11, &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")][..], true),
            (Version::HTTP_10, &[("connection", "Upgrade"), ("upgrade", "websocket")], false),
            (Version::HTTP_11, &[("connection", "Upgrade"), ("upgrade", "H2C")], false),
            (Version::HTTP_11, &[("connection", "Upgrade"), ("upgrade", "websocket, h2c")], false),
            (Version::HTTP_11, &[("upgrade", "websocket")], false),
        ] {
            let fields = fields(list);
            assert_eq!(upgrade_wanted(version, &fields, Seen::of(&fields)).is_some(), wanted, "{list:?}");
        }
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let mut map = fields(&[("cookie", "a=1"), ("cookie", "b=2")]);
        let seen = Seen::of(&map);
        join_cookies(&mut map, seen);
        assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn keep_alive_is_read() {
        let seconds = |value| {
            let fields = fields(&[("keep-alive", value)]);
            keep_alive_timeout(&fields, Seen::of(&fields)).map(|limit| limit.as_secs())
        };
        assert_eq!(seconds("max=3, Timeout=5"), Some(5));
        assert_eq!(seconds("timeout=x"), None);
    }
}
