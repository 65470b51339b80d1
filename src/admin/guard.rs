//! Who may call: the token, and for browsers the page the call comes from.
//!
//! A page on some other site can make a browser call a loopback address (cross-site request, DNS rebinding). Such calls
//! name the foreign site in `Origin` or `Sec-Fetch-Site`, or a foreign name in `Host`.

use std::net::IpAddr;

use axum::{
    extract::{Request, State as Extracted},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{reply::Refused, serve::Shared};
use crate::api::{Problem, ProblemKind};

/// Paths that load balancers and container runtimes ask without credentials.
const OPEN_PATHS: &[&str] = &["/live", "/ready"];

pub(super) async fn check(Extracted(shared): Extracted<Shared>, request: Request, next: Next) -> Response {
    match permitted(&shared, request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refused(problem).into_response(),
    }
}

fn permitted(shared: &Shared, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    if OPEN_PATHS.contains(&path) {
        return Ok(());
    }
    check_page(headers)?;
    match &shared.token {
        Some(token) => {
            let given = text(headers, header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
            if given.is_some_and(|given| token.is(given.trim())) {
                return Ok(());
            }
            let message = if given.is_some() { "the bearer token is wrong" } else { "a bearer token is needed" };
            Err(Problem::new(ProblemKind::Unauthorized, message)
                .hint("send Authorization: Bearer TOKEN; the CLI takes --token-file"))
        }
        None if shared.is_tcp => check_host(headers),
        None => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn check_page(headers: &HeaderMap) -> Result<(), Problem> {
    let cross_site = text(headers, "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let foreign_origin = text(headers, "origin").is_some_and(|origin| {
        let place = origin.split_once("://").map(|(_, place)| place);
        place.is_none() || place != text(headers, "host")
    });
    if cross_site || foreign_origin {
        return Err(Problem::new(ProblemKind::Forbidden, "the call comes from a page of another site"));
    }
    Ok(())
}

/// Without a token the API is on loopback, and is called by a loopback address or `localhost`.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = text(headers, "host").unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local {
        return Ok(());
    }
    let message =
        format!("the admin API does not answer under the name {:?}", name.chars().take(80).collect::<String>());
    Err(Problem::new(ProblemKind::Forbidden, message).hint("call it by its loopback address, or set admin.token_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn foreign_pages_and_names_are_refused() {
        for (list, permitted) in [
            (&[("host", "127.0.0.1:9900")][..], true),
            (&[("host", "localhost:9900")], true),
            (&[("host", "[::1]:9900")], true),
            (&[("host", "evil.example:9900")], false),
            (&[("host", "127.0.0.1.evil.example")], false),
            (&[], false),
            (&[("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9900")], true),
            (&[("host", "127.0.0.1:9900"), ("origin", "http://evil.example")], false),
            (&[("host", "127.0.0.1:9900"), ("origin", "null")], false),
            (&[("host", "127.0.0.1:9900"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "127.0.0.1:9900"), ("sec-fetch-site", "same-origin")], true),
        ] {
            let map = headers(list);
            assert_eq!(check_page(&map).and_then(|()| check_host(&map)).is_ok(), permitted, "{list:?}");
        }
    }
}
