//! The file as it is written: every key, nothing interpreted, nothing required, each value with its place in the text.
//! What a value means, and what must not be missing, is `check`'s business: there all problems can be told at once.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

/// A value that may be left out, with its place.
pub(super) type Given<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct File {
    /// Checked before all else, since another version may mean other keys.
    #[serde(rename = "version")]
    pub(super) _version: Given<i64>,
    pub(super) proxy: Proxy,
    pub(super) admin: Admin,
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) service: Vec<Spanned<Service>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Proxy {
    pub(super) listen: Given<String>,
    pub(super) workers: Given<i64>,
    pub(super) defer_accept: Given<bool>,
    pub(super) access_log: Given<String>,
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    pub(super) proxy_protocol: Vec<Spanned<String>>,
    pub(super) tls: Given<Tls>,
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Limits {
    pub(super) header_timeout: Given<Quantity>,
    pub(super) idle_timeout: Given<Quantity>,
    pub(super) body_timeout: Given<Quantity>,
    pub(super) send_timeout: Given<Quantity>,
    pub(super) header_bytes_max: Given<Quantity>,
    pub(super) headers_max: Given<i64>,
    pub(super) streams_max: Given<i64>,
    pub(super) resets_max: Given<i64>,
    pub(super) connections_max: Given<i64>,
    pub(super) replay_buffer_total: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Tls {
    pub(super) cert: Given<String>,
    pub(super) key: Given<String>,
    pub(super) more: Vec<Spanned<KeyPair>>,
    pub(super) client_ca: Given<String>,
    pub(super) client_auth: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct KeyPair {
    pub(super) cert: Given<String>,
    pub(super) key: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Shutdown {
    pub(super) delay: Given<Quantity>,
    pub(super) linger: Given<Quantity>,
    pub(super) deadline: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Admin {
    pub(super) listen: Given<String>,
    pub(super) token_file: Given<String>,
    pub(super) tls: Given<Tls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct State {
    pub(super) dir: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Log {
    pub(super) format: Given<String>,
    pub(super) filter: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Service {
    pub(super) name: Given<String>,
    #[serde(rename = "match")]
    pub(super) rule: Given<Rule>,
    pub(super) active: Given<String>,
    pub(super) replay: Given<String>,
    pub(super) replay_buffer: Given<Quantity>,
    pub(super) blue: Slot,
    pub(super) green: Slot,
    pub(super) health: Health,
    pub(super) gate: Gate,
    pub(super) timeouts: Timeouts,
    pub(super) pool: Pool,
    pub(super) balance: Balance,
    pub(super) ejection: Ejection,
    pub(super) retry: Retry,
    pub(super) limits: ServiceLimits,
    pub(super) tls: UpstreamTls,
    pub(super) request: RequestRules,
    pub(super) answer: Edits,
    pub(super) drain: Drain,
    pub(super) preview: Preview,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Rule {
    pub(super) host: Given<String>,
    pub(super) path_prefix: Given<String>,
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Slot {
    pub(super) endpoints: Vec<Spanned<Endpoint>>,
    pub(super) version: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Health {
    pub(super) path: Given<String>,
    pub(super) status: Vec<Spanned<i64>>,
    pub(super) grpc: Given<String>,
    pub(super) interval: Given<Quantity>,
    pub(super) timeout: Given<Quantity>,
    pub(super) rise: Given<i64>,
    pub(super) fall: Given<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Gate {
    pub(super) ready: Given<i64>,
    pub(super) golden: Given<String>,
    pub(super) contract: Given<bool>,
    pub(super) warm_up: Given<Quantity>,
    pub(super) warm_up_requests: Given<String>,
    pub(super) warm_up_concurrency: Given<i64>,
    pub(super) timeout: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Timeouts {
    pub(super) connect: Given<Quantity>,
    pub(super) first_byte: Given<Quantity>,
    pub(super) idle: Given<Quantity>,
    pub(super) request: Given<Quantity>,
    pub(super) tunnel_idle: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Pool {
    pub(super) idle_timeout: Given<Quantity>,
    pub(super) idle_max: Given<i64>,
    pub(super) resolve_interval: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Balance {
    pub(super) policy: Given<String>,
    pub(super) slow_start: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Ejection {
    pub(super) failures: Given<Quantity>,
    pub(super) time: Given<Quantity>,
    pub(super) time_max: Given<Quantity>,
    pub(super) share_max: Given<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Retry {
    pub(super) statuses: Option<Vec<Spanned<i64>>>,
    pub(super) attempts: Given<i64>,
    pub(super) budget: Given<i64>,
    pub(super) try_timeout: Given<Quantity>,
    pub(super) wait: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct ServiceLimits {
    pub(super) concurrency: Given<Quantity>,
    pub(super) queue: Given<i64>,
    pub(super) queue_timeout: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct UpstreamTls {
    pub(super) ca: Given<String>,
    pub(super) server_name: Given<String>,
    pub(super) cert: Given<String>,
    pub(super) key: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RequestRules {
    pub(super) host: Given<String>,
    pub(super) strip_prefix: Given<String>,
    pub(super) body_max: Given<Quantity>,
    pub(super) set: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) add: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) remove: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Edits {
    pub(super) set: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) add: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) remove: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Drain {
    pub(super) cut_after: Given<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Preview {
    pub(super) allow: Vec<Spanned<String>>,
    pub(super) token_file: Given<String>,
}

/// A URL, or the addresses one by one.
#[derive(Debug)]
pub(super) enum Endpoint {
    Url(String),
    Pair(Pair),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a URL or a table with http, grpc or both")]
pub(super) struct Pair {
    pub(super) http: Given<String>,
    pub(super) grpc: Given<String>,
}

/// A duration or a size. A number without a unit is taken in here, so that `check` can say which unit is missing.
#[derive(Debug)]
pub(super) enum Quantity {
    Number(i64),
    Text(String),
}

/// Written by hand because serde's untagged enums lose the places of what is inside.
impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EndpointVisitor;

        impl<'de> Visitor<'de> for EndpointVisitor {
            type Value = Endpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or a table with http, grpc or both")
            }

            fn visit_str<E>(self, url: &str) -> Result<Endpoint, E> {
                Ok(Endpoint::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                Pair::deserialize(MapAccessDeserializer::new(map)).map(Endpoint::Pair)
            }
        }

        deserializer.deserialize_any(EndpointVisitor)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;

        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(QuantityVisitor)
    }
}
