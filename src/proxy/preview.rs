//! The preview: an allowed caller names the slot that takes the request, with `x-verdigris-slot`.
//!
//! Who names a slot gets that slot or a refusal, never the other one: a test of green that blue passed would be worse than
//! none. A slot is open to previews only while what stands there has never served (P4); the table says so.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::{
    answer::Failure,
    exchange::{Exchange, Held},
    headers::{X_VERDIGRIS_SLOT, X_VERDIGRIS_TOKEN},
};
use crate::{
    ids::Slot,
    table::{Preview, Service},
    telemetry::FailureKind,
};

/// The slot that the caller names; `None`: it names none.
///
/// # Errors
/// The caller may not name one, or what it names is no slot.
pub(super) fn asked(
    exchange: &Exchange,
    service: &Service,
    rules: &Preview,
    head: &Parts,
) -> Result<Option<Slot>, Failure> {
    let mut names = head.headers.get_all(X_VERDIGRIS_SLOT).iter();
    let Some(name) = names.next() else { return Ok(None) };
    if !may_choose(rules, exchange.client_address(&head.headers), &head.headers) {
        return Err(denied(service, rules));
    }
    let slot = Slot::BOTH.into_iter().find(|slot| slot.as_str().as_bytes() == name.as_bytes());
    match slot.filter(|_| names.next().is_none()) {
        Some(slot) => Ok(Some(slot)),
        None => {
            let message = "x-verdigris-slot is to be one word, blue or green; leave it out for the slot that serves";
            Err(Failure::new(FailureKind::PreviewInvalid, message))
        }
    }
}

/// The slot that a request named which needs a slot anew.
///
/// # Errors
/// Another service takes the request by now; what its callers may do, this one was never asked to show.
pub(super) fn asked_before(before: &Held, service: &Service) -> Result<Option<Slot>, Failure> {
    let slot = before.slot.table.slot;
    if before.service.service.settings.name == service.settings.name {
        return Ok(Some(slot));
    }
    Err(unavailable(service, slot))
}

/// Ok if the slot takes requests that name it.
///
/// # Errors
/// It is empty, or what stands there has served and takes nothing new.
pub(super) fn check(service: &Service, slot: Slot) -> Result<(), Failure> {
    let table = &service.slots[slot];
    if table.endpoints.is_empty() {
        let message = format!("slot {slot} of service {} has no endpoint", service.settings.name);
        return Err(Failure::new(FailureKind::SlotEmpty, message));
    }
    if table.is_open { Ok(()) } else { Err(unavailable(service, slot)) }
}

/// The service's token is between the caller and the proxy: no server gets to see it.
pub(super) fn keep_token(rules: &Preview, fields: &mut HeaderMap) {
    if rules.has_token() && shows_bearer(rules, fields) {
        fields.remove(header::AUTHORIZATION);
    }
}

fn may_choose(rules: &Preview, client: IpAddr, fields: &HeaderMap) -> bool {
    rules.allows(client)
        || fields.get_all(X_VERDIGRIS_TOKEN).iter().any(|value| rules.is_token(value.as_bytes()))
        || shows_bearer(rules, fields)
}

fn shows_bearer(rules: &Preview, fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all(header::AUTHORIZATION).iter();
    lines.any(|line| bearer(line).is_some_and(|token| rules.is_token(token)))
}

/// What follows `Bearer` (RFC 6750 section 2.1); the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(line: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = line.as_bytes().split_at_checked(BEARER.len())?;
    let token = token.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(BEARER))?;
    Some(token.trim_ascii())
}

const BEARER: &[u8] = b"bearer";

fn denied(service: &Service, rules: &Preview) -> Failure {
    let how = match rules.has_token() {
        true => "send the service's preview token as `x-verdigris-token: TOKEN`, or call from a listed network",
        false => "call from a listed network",
    };
    let name = &service.settings.name;
    let message = format!("only allowed callers choose a slot of service {name}: {how}, or leave x-verdigris-slot out");
    Failure::new(FailureKind::PreviewDenied, message)
}

fn unavailable(service: &Service, slot: Slot) -> Failure {
    let name = &service.settings.name;
    let message = format!(
        "slot {slot} of service {name} takes no previews: what stands there has served already; fill it anew or switch to it"
    );
    Failure::new(FailureKind::PreviewUnavailable, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::net::Secret;

    fn fields(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn rules() -> Preview {
        Preview::new(vec!["10.0.0.0/8".parse().unwrap()], Secret::new("s3cret-of-16-byt"))
    }

    /// Fails when: another scheme, another token or a part of it is taken, or one of the two fields is not looked at.
    #[test]
    fn a_token_comes_in_either_field() {
        let stranger = IpAddr::from([192, 0, 2, 1]);
        for (name, value, taken) in [
            (X_VERDIGRIS_TOKEN, "s3cret-of-16-byt", true),
            (X_VERDIGRIS_TOKEN, "Bearer s3cret-of-16-byt", false),
            (header::AUTHORIZATION, "Bearer s3cret-of-16-byt", true),
            (header::AUTHORIZATION, "bEARER   s3cret-of-16-byt", true),
            (header::AUTHORIZATION, "s3cret-of-16-byt", false),
            (header::AUTHORIZATION, "Bearers3cret-of-16-byt", false),
            (header::AUTHORIZATION, "Basic s3cret-of-16-byt", false),
            (header::AUTHORIZATION, "Bearer s3cret-of-16-by", false),
            (header::AUTHORIZATION, "Bearer", false),
            (header::PROXY_AUTHORIZATION, "Bearer s3cret-of-16-byt", false),
        ] {
            let fields = fields(&[(name.clone(), value)]);
            assert_eq!(may_choose(&rules(), stranger, &fields), taken, "{name}: {value}");
        }
        assert!(may_choose(&rules(), IpAddr::from([10, 0, 0, 1]), &HeaderMap::new()));
        assert!(!may_choose(&rules(), stranger, &HeaderMap::new()));
    }

    /// Fails when: the service's token stays, or the server's own is taken away.
    #[test]
    fn only_the_services_token_is_kept_back() {
        for (value, stays) in [("Bearer s3cret-of-16-byt", false), ("Bearer of-the-server", true)] {
            let mut fields = fields(&[(header::AUTHORIZATION, value)]);
            keep_token(&rules(), &mut fields);
            assert_eq!(fields.contains_key(header::AUTHORIZATION), stays, "{value}");
        }
    }
}
