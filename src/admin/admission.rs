//! Who may call: the right host name, the right site, the right token. A browser on the operator's machine can be led
//! to this API by any page it shows, so that listening on loopback alone keeps nobody out.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{actor::Peer, answer::Refusal, page, shared::Shared};
use crate::{
    api::{Problem, ProblemKind},
    net::Secret,
};

/// What is asked of a caller.
#[derive(Debug)]
pub(super) struct Admission {
    token: Option<Secret>,
    /// The listener's address, if calls must name it or loopback: without a token, a page of a foreign name that
    /// resolves to this machine (DNS rebinding) would be same-origin to the browser.
    own: Option<IpAddr>,
    /// Callers without a token need a client certificate. Set at the start, where the listener's address was found safe
    /// with it: a later file cannot open the door.
    needs_certificate: bool,
}

impl Admission {
    /// For a listener of this address; `None` is a unix socket, which no browser reaches.
    /// Over TLS the names are those of the certificate, and a browser makes sure of that.
    pub(super) fn new(
        token: Option<Secret>,
        listener: Option<SocketAddr>,
        speaks_tls: bool,
        needs_certificate: bool,
    ) -> Self {
        let own = if token.is_some() || speaks_tls { None } else { listener.map(|address| address.ip()) };
        Self { token, own, needs_certificate: needs_certificate && listener.is_some() }
    }

    fn check(&self, peer: &Peer, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if PROBES.contains(&uri.path()) {
            return Ok(());
        }
        if let Some(own) = self.own {
            check_host(own, uri, headers)?;
        }
        check_site(uri, headers)?;
        // The page holds no secret, and a browser cannot send the token before the page has asked for it.
        let is_page = page::PATHS.contains(&uri.path()) && matches!(*method, Method::GET | Method::HEAD);
        if is_page || matches!(peer, Peer::Certificate { .. }) {
            return Ok(());
        }
        match &self.token {
            Some(token) => check_token(token, headers),
            None if self.needs_certificate => Err(without_certificate()),
            None => Ok(()),
        }
    }
}

/// Lets a call through or answers it.
pub(super) async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get().cloned().unwrap_or(Peer::Unknown);
    match shared.admission.check(&peer, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::warn!(%peer, method = %request.method(), path = request.uri().path(), "An admin call was not let in: {}.", refusal.0);
            refusal.into_response()
        }
    }
}

/// Liveness and readiness are for anybody who can connect: an orchestrator has no token.
const PROBES: [&str; 2] = ["/live", "/ready"];

fn check_host(own: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let named = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or_default());
    // No Host at all comes from HTTP/1.0 tools, never from a browser.
    for name in named.chain(uri.authority().map(Authority::as_str)) {
        if !is_ours(own, name) {
            let shown: String = name.chars().take(80).collect();
            let problem = Problem::new(ProblemKind::Forbidden, format!("{shown:?} is not a name of this admin API"));
            return Err(problem.hint("call it by its address, or set admin.token_file to allow any name").into());
        }
    }
    Ok(())
}

/// Any port will do: a forwarded one is still this machine's.
fn is_ours(own: IpAddr, name: &str) -> bool {
    let Ok(authority) = name.parse::<Authority>() else { return false };
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback() || ip == own)
}

/// Refuses calls that a browser makes for a page of another site. Other callers send neither field.
fn check_site(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let field = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = field(&header::HOST).or_else(|| uri.authority().map(Authority::as_str)).unwrap_or_default();
    let foreign_origin = field(&header::ORIGIN).is_some_and(|origin| !is_same(origin, host));
    let cross_site = field(&SEC_FETCH_SITE) == Some("cross-site");
    if foreign_origin || cross_site {
        let problem = Problem::new(ProblemKind::Forbidden, "a page of another site may not call the admin API");
        return Err(problem.hint("open the dashboard itself, or call the API from outside a browser").into());
    }
    Ok(())
}

/// The scheme does not count, so that TLS may end in front of this server.
fn is_same(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

fn check_token(token: &Secret, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        let problem = Problem::new(ProblemKind::Unauthorized, "this admin API needs a bearer token");
        return Err(problem.hint("send \"authorization: Bearer TOKEN\"; the CLI takes --token-file").into());
    };
    let (scheme, value) = given.as_bytes().split_at_checked(7).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"bearer ") && token.is(value.trim_ascii()) {
        return Ok(());
    }
    let problem = Problem::new(ProblemKind::Unauthorized, "the bearer token is not the right one");
    Err(problem.hint("compare it with the file that admin.token_file names; it is read when the proxy starts").into())
}

fn without_certificate() -> Refusal {
    let problem = Problem::new(ProblemKind::Unauthorized, "this admin API needs a client certificate");
    problem.hint("show one that admin.tls.client_ca has signed; the CLI takes --cert and --key").into()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn open() -> Admission {
        Admission::new(None, Some(([127, 0, 0, 1], 9900).into()), false, false)
    }

    fn locked() -> Admission {
        Admission::new(Secret::new("s3cret"), Some(([10, 0, 0, 1], 9900).into()), false, false)
    }

    /// The status that the admission answers with; 200 lets it through.
    fn status(admission: &Admission, path: &str, fields: &[(&'static str, &str)]) -> u16 {
        status_of(&Peer::Unknown, admission, path, fields)
    }

    fn status_of(peer: &Peer, admission: &Admission, path: &str, fields: &[(&'static str, &str)]) -> u16 {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = fields.iter().map(pair).collect();
        let outcome = admission.check(peer, &Method::GET, &path.parse().unwrap(), &headers);
        outcome.err().map_or(200, |refusal| refusal.0.error.status())
    }

    #[test]
    fn only_own_names_are_let_in_without_a_token() {
        let host = |name| status(&open(), "/v1/services", &[("host", name)]);
        for own in ["127.0.0.1:9900", "127.0.0.2", "localhost:1234", "LOCALHOST", "[::1]:9900"] {
            assert_eq!(host(own), 200, "{own}");
        }
        for foreign in ["evil.test", "evil.test:9900", "10.0.0.1", "localhost.evil.test", "127.0.0.1.evil.test", ""] {
            assert_eq!(host(foreign), 403, "{foreign}");
        }
        assert_eq!(status(&open(), "/v1/services", &[]), 200);
        assert_eq!(status(&open(), "http://evil.test/v1/services", &[("host", "127.0.0.1")]), 403);
        let two = Admission::new(None, Some(([10, 0, 0, 1], 9900).into()), false, false);
        assert_eq!(status(&two, "/", &[("host", "10.0.0.1:9900")]), 200);
    }

    #[test]
    fn any_name_is_let_in_with_a_token_or_by_unix_socket() {
        let token = ("authorization", "Bearer s3cret");
        assert_eq!(status(&locked(), "/v1/services", &[("host", "verdigris.corp"), token]), 200);
        assert_eq!(status(&Admission::new(None, None, false, false), "/v1/services", &[("host", "anything")]), 200);
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let host = ("host", "localhost:9900");
        let from = |field| status(&open(), "/v1/services", &[host, field]);
        assert_eq!(from(("origin", "http://localhost:9900")), 200);
        assert_eq!(from(("origin", "https://LOCALHOST:9900")), 200);
        assert_eq!(from(("sec-fetch-site", "same-origin")), 200);
        assert_eq!(from(("sec-fetch-site", "none")), 200);
        for foreign in ["http://evil.test", "http://localhost:3000", "null", "http://localhost"] {
            assert_eq!(from(("origin", foreign)), 403, "{foreign}");
        }
        assert_eq!(from(("sec-fetch-site", "cross-site")), 403);
        assert_eq!(status(&open(), "/v1/services", &[("origin", "http://")]), 403);
        let token = ("authorization", "Bearer s3cret");
        assert_eq!(status(&locked(), "/v1/services", &[token, ("origin", "http://evil.test"), host]), 403);
    }

    #[test]
    fn a_certificate_is_as_good_as_the_token() {
        let alice = Peer::Certificate { name: "alice".into(), ip: [10, 0, 0, 2].into() };
        let certain = Admission::new(None, Some(([10, 0, 0, 1], 9900).into()), true, true);
        for admission in [locked(), certain] {
            let host = [("host", "admin.corp")];
            assert_eq!(status_of(&alice, &admission, "/v1/services", &host), 200);
            assert_eq!(status(&admission, "/v1/services", &host), 401);
            assert_eq!(status(&admission, "/live", &host), 200);
        }
        let unix = Admission::new(None, None, true, true);
        assert_eq!(status(&unix, "/v1/services", &[]), 200, "nobody shows a certificate to a unix socket");
    }

    #[test]
    fn the_token_is_asked_for_everywhere_but_at_probes_and_page() {
        let with = |path, value| status(&locked(), path, &[("host", "x"), ("authorization", value)]);
        for good in ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret"] {
            assert_eq!(with("/v1/services", good), 200, "{good}");
        }
        for bad in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer", "Basic s3cret", "s3cret", ""] {
            assert_eq!(with("/v1/services", bad), 401, "{bad}");
        }
        for guarded in ["/v1/services", "/v1/events", "/events", "/metrics", "/openapi.json", "/nowhere"] {
            assert_eq!(status(&locked(), guarded, &[]), 401, "{guarded}");
        }
        for free in ["/live", "/ready", "/", "/app.js", "/style.css"] {
            assert_eq!(status(&locked(), free, &[]), 200, "{free}");
        }
    }
}
