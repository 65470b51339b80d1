//! Which of the fields that the proxy has something to do with a head has: found out in one look at its names, so that
//! what hardly any message has costs no lookup.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// A set of kinds of fields. What a head had when it was looked at: a field that was set since is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Seen(u32);

impl Seen {
    pub(in crate::proxy) const CONNECTION: Self = Self(1);
    /// `Connection` says more than that the connection stays, which is what most servers say.
    pub(in crate::proxy) const CONNECTION_OPTIONS: Self = Self(1 << 1);
    pub(in crate::proxy) const KEEP_ALIVE: Self = Self(1 << 2);
    pub(super) const PROXY_CONNECTION: Self = Self(1 << 3);
    pub(in crate::proxy) const TRANSFER_ENCODING: Self = Self(1 << 4);
    pub(in crate::proxy) const UPGRADE: Self = Self(1 << 5);
    pub(in crate::proxy) const TE: Self = Self(1 << 6);
    pub(super) const HTTP2_SETTINGS: Self = Self(1 << 7);
    pub(super) const X_VERDIGRIS_SLOT: Self = Self(1 << 8);
    pub(super) const X_VERDIGRIS_TOKEN: Self = Self(1 << 9);
    /// All that ends with its hop.
    pub(super) const HOP_BY_HOP: Self = Self((1 << 10) - 1);
    pub(in crate::proxy) const CONTENT_LENGTH: Self = Self(1 << 10);
    pub(in crate::proxy) const CONTENT_TYPE: Self = Self(1 << 11);
    pub(in crate::proxy) const COOKIE: Self = Self(1 << 12);
    pub(in crate::proxy) const X_REQUEST_ID: Self = Self(1 << 13);
    /// What tells of a client and is not written anew in any case.
    pub(super) const TOLD: Self = Self(1 << 14);
    pub(super) const X_VERDIGRIS_ERROR: Self = Self(1 << 15);
    pub(super) const X_VERDIGRIS_VERSION: Self = Self(1 << 16);

    pub(in crate::proxy) fn of(fields: &HeaderMap) -> Self {
        let seen = fields.keys().fold(Self::default(), |seen, name| seen.and(Self::kind(name)));
        if seen.has(Self::CONNECTION) && !fields.get_all(header::CONNECTION).iter().all(only_stays) {
            return seen.and(Self::CONNECTION_OPTIONS);
        }
        seen
    }

    /// True if one of these kinds is in the set.
    pub(in crate::proxy) const fn has(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn kind(name: &HeaderName) -> Self {
        let name = name.as_str();
        // Most names are told apart by their lengths.
        match name.len() {
            2 if name == "te" => Self::TE,
            6 if name == "cookie" => Self::COOKIE,
            7 if name == "upgrade" => Self::UPGRADE,
            9 if name == "forwarded" || name == "x-real-ip" => Self::TOLD,
            10 if name == "connection" => Self::CONNECTION,
            10 if name == "keep-alive" => Self::KEEP_ALIVE,
            12 if name == "content-type" => Self::CONTENT_TYPE,
            12 if name == "x-request-id" => Self::X_REQUEST_ID,
            14 if name == "content-length" => Self::CONTENT_LENGTH,
            14 if name == "http2-settings" => Self::HTTP2_SETTINGS,
            16 if name == "x-verdigris-slot" => Self::X_VERDIGRIS_SLOT,
            16 if name == "proxy-connection" => Self::PROXY_CONNECTION,
            16 if name == "x-forwarded-port" => Self::TOLD,
            17 if name == "transfer-encoding" => Self::TRANSFER_ENCODING,
            17 if name == "x-verdigris-token" => Self::X_VERDIGRIS_TOKEN,
            17 if name == "x-verdigris-error" => Self::X_VERDIGRIS_ERROR,
            18 if name == "x-forwarded-prefix" => Self::TOLD,
            19 if name == "x-verdigris-version" => Self::X_VERDIGRIS_VERSION,
            _ => Self::default(),
        }
    }
}

fn only_stays(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
}

/// True if there is such a field. Most heads are short, so a look at the names is quicker than a lookup.
pub(in crate::proxy) fn has(fields: &HeaderMap, name: &HeaderName) -> bool {
    fields.keys().any(|other| other == name)
}

/// The first value of a field that stands near the beginning of most heads, where a look at each is quicker than a lookup.
pub(in crate::proxy) fn first<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::Version;
    use proptest::prelude::*;

    use super::{
        super::{disown, end_hop, join_cookies, keep_alive_timeout, says_close, upgrade_wanted},
        *,
    };

    /// As if every field might be there: the rule without its short cut.
    const ALL: Seen = Seen(u32::MAX);

    /// Fails when: a name is not told by its length.
    #[test]
    fn each_kind_has_its_names() {
        for (kind, names) in [
            (Seen::CONNECTION, &["connection"][..]),
            (Seen::KEEP_ALIVE, &["keep-alive"]),
            (Seen::PROXY_CONNECTION, &["proxy-connection"]),
            (Seen::TRANSFER_ENCODING, &["transfer-encoding"]),
            (Seen::UPGRADE, &["upgrade"]),
            (Seen::TE, &["te"]),
            (Seen::HTTP2_SETTINGS, &["http2-settings"]),
            (Seen::X_VERDIGRIS_SLOT, &["x-verdigris-slot"]),
            (Seen::X_VERDIGRIS_TOKEN, &["x-verdigris-token"]),
            (Seen::CONTENT_LENGTH, &["content-length"]),
            (Seen::CONTENT_TYPE, &["content-type"]),
            (Seen::COOKIE, &["cookie"]),
            (Seen::X_REQUEST_ID, &["x-request-id"]),
            (Seen::TOLD, &["x-forwarded-port", "x-forwarded-prefix", "forwarded", "x-real-ip"]),
            (Seen::X_VERDIGRIS_ERROR, &["x-verdigris-error"]),
            (Seen::X_VERDIGRIS_VERSION, &["x-verdigris-version"]),
            (Seen::default(), &["host", "ta", "accept", "x-forwarded-host"]),
        ] {
            for name in names {
                assert_eq!(Seen::kind(&HeaderName::from_static(name)), kind, "{name}");
            }
        }
    }

    #[test]
    fn a_connection_that_only_stays_has_no_options() {
        for (values, options) in [
            (&["keep-alive"][..], false),
            (&["Keep-Alive"], false),
            (&["keep-alive", "Keep-Alive"], false),
            (&["keep-alive, x"], true),
            (&["keep-alive", "close"], true),
            (&["close"], true),
            (&["keep-alive "], true),
            (&[""], true),
        ] {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append("connection", HeaderValue::from_static(value));
            }
            let seen = Seen::of(&fields);
            assert!(seen.has(Seen::CONNECTION), "{values:?}");
            assert_eq!(seen.has(Seen::CONNECTION_OPTIONS), options, "{values:?}");
        }
    }

    /// What happens to a head, and what is read from it.
    fn passed(mut fields: HeaderMap, seen: Seen) -> (HeaderMap, String) {
        let wanted = upgrade_wanted(Version::HTTP_11, &fields, seen);
        let read = (wanted, says_close(&fields, seen), keep_alive_timeout(&fields, seen));
        end_hop(&mut fields, seen);
        join_cookies(&mut fields, seen);
        disown(&mut fields, seen);
        (fields, format!("{read:?}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]
        /// Fails when: a field is overlooked that a rule has to do with.
        #[test]
        fn a_look_ahead_changes_nothing(fields in prop::collection::vec((0..NAMES.len(), 0..VALUES.len()), 0..7)) {
            let field = |(name, value): (usize, usize)| {
                (HeaderName::from_static(NAMES[name]), HeaderValue::from_static(VALUES[value]))
            };
            let mut map = HeaderMap::new();
            for (name, value) in fields.into_iter().map(field) {
                map.append(name, value);
            }
            prop_assert_eq!(passed(map.clone(), Seen::of(&map)), passed(map, ALL));
        }
    }

    const NAMES: &[&str] = &[
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "http2-settings",
        "x-verdigris-slot",
        "x-verdigris-token",
        "x-verdigris-error",
        "cookie",
        "x-a",
        "host",
    ];
    const VALUES: &[&str] =
        &["keep-alive", "close", "Upgrade, x-a", "te, cookie", "trailers", "timeout=5", "websocket", ""];
}
