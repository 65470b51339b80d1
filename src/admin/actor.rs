//! Who asks, in the words that go to the journal.

use std::{convert::Infallible, fmt, net::IpAddr, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};

/// The header field in which a caller names itself: `cli alice`. It is a claim; the peer is what was seen.
pub const ACTOR_HEADER: &str = "x-verdigris-actor";

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Ip(IpAddr),
    /// Whoever this certificate was issued to, which is more than a claim.
    Certificate {
        name: Arc<str>,
        ip: IpAddr,
    },
    /// A process of this user on this machine.
    Uid(u32),
    /// A unix socket whose other end the kernel did not name.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(ip) => ip.to_canonical().fmt(f),
            Peer::Certificate { name, ip } => write!(f, "certificate {name}, {}", ip.to_canonical()),
            Peer::Uid(uid) => write!(f, "uid {uid}"),
            Peer::Unknown => f.write_str("unix"),
        }
    }
}

/// `api 127.0.0.1`, or `cli alice (127.0.0.1)` if the caller named itself.
pub(super) struct Actor(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get().cloned().unwrap_or(Peer::Unknown);
        let claim = parts.headers.get(ACTOR_HEADER).map(|value| plain(value.as_bytes()));
        Ok(Self(match claim.filter(|claim| !claim.is_empty()) {
            Some(claim) => format!("{claim} ({peer})"),
            None => format!("api {peer}"),
        }))
    }
}

/// What a stranger wrote, fit for a log line: printable ASCII, and not much of it.
pub(super) fn plain(bytes: &[u8]) -> String {
    let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
    let text: String = bytes.trim_ascii().iter().take(CLAIM_BYTES_MAX).map(printable).collect();
    text.trim_end().to_owned()
}

const CLAIM_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    async fn actor(claim: Option<&[u8]>, peer: Peer) -> String {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.extensions.insert(peer);
        if let Some(claim) = claim {
            parts.headers.insert(ACTOR_HEADER, HeaderValue::from_bytes(claim).unwrap());
        }
        let Ok(actor) = Actor::from_request_parts(&mut parts, &()).await;
        actor.0
    }

    #[tokio::test]
    async fn an_actor_is_the_peer_and_what_it_claims() {
        let certified = Peer::Certificate { name: "alice".into(), ip: [10, 0, 0, 1].into() };
        assert_eq!(actor(None, certified.clone()).await, "api certificate alice, 10.0.0.1");
        assert_eq!(actor(Some(b"cli bob"), certified).await, "cli bob (certificate alice, 10.0.0.1)");
        let peer = Peer::Ip("::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(actor(None, peer.clone()).await, "api 127.0.0.1");
        assert_eq!(actor(Some(b" "), peer.clone()).await, "api 127.0.0.1");
        assert_eq!(actor(Some(b"cli alice"), peer.clone()).await, "cli alice (127.0.0.1)");
        assert_eq!(actor(Some(b"cli bob"), Peer::Uid(1000)).await, "cli bob (uid 1000)");
        assert_eq!(actor(Some(b"caf\xc3\xa9\t!"), Peer::Unknown).await, "caf???! (unix)");
        assert_eq!(actor(Some(&[b'x'; 500]), peer).await.len(), 64 + " (127.0.0.1)".len());
    }
}
