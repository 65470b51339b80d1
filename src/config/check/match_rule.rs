//! `match`: which requests are a service's.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use toml::Spanned;

use super::Check;
use crate::config::{endpoint::is_host_name, schema, settings::MatchRule};

impl Check<'_> {
    pub(super) fn match_rule(&mut self, given: &schema::Rule) -> MatchRule {
        MatchRule {
            host: given.host.as_ref().and_then(|host| self.host(host)),
            path_prefix: given.path_prefix.as_ref().and_then(|prefix| self.path_prefix(prefix)),
            headers: self.headers(given),
        }
    }

    fn host(&mut self, given: &Spanned<String>) -> Option<String> {
        let host = given.get_ref().to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        if is_host_name(name) || name.len() == host.len() && is_ip(&host) {
            return Some(host);
        }
        let hint = match host.rsplit_once(':') {
            _ if host == "*" => "leave `host` out to take every host".into(),
            Some((before, port)) if is_host_name(before) && port.parse::<u16>().is_ok() => {
                format!("leave out the port: write {before:?}")
            }
            _ => "write such as \"models.example.org\" or \"*.example.org\", without scheme, port or path".into(),
        };
        self.refuse(given.span(), format!("{:?} is not a host", given.get_ref()), hint);
        None
    }

    /// Without trailing slashes, since whole segments are matched. `/` takes everything, as no prefix does.
    pub(super) fn path_prefix(&mut self, given: &Spanned<String>) -> Option<String> {
        let prefix = given.get_ref();
        if !prefix.starts_with('/') {
            let hint = format!("write {:?}", format!("/{prefix}"));
            self.refuse(given.span(), format!("{prefix:?} does not begin with a slash"), hint);
            return None;
        }
        if prefix.contains(['?', '#', '*', '{']) || prefix.parse::<PathAndQuery>().is_err() {
            let hint = "write the beginning of a path as it stands in the request, without query or wildcards";
            self.refuse(given.span(), format!("{prefix:?} is not the beginning of a path"), hint);
            return None;
        }
        Some(prefix.trim_end_matches('/')).filter(|rest| !rest.is_empty()).map(str::to_owned)
    }

    fn headers(&mut self, given: &schema::Rule) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        // In the order of the file, so that of two equal names the later one is the duplicate.
        let mut written: Vec<_> = given.headers.iter().collect();
        written.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in written {
            let Some(plain) = self.header_name(name) else { continue };
            if HeaderValue::from_str(value.get_ref()).is_err() || value.get_ref().trim() != value.get_ref() {
                self.refuse(value.span(), "no request can carry this value", "write it as it stands in the request");
            } else if headers.iter().any(|(earlier, _)| *earlier == plain) {
                let hint = "header names are the same in upper and lower case; write each once";
                self.refuse(name.span(), format!("header {plain:?} is asked for twice"), hint);
            } else {
                headers.push((plain, value.get_ref().clone()));
            }
        }
        headers.sort();
        headers
    }

    fn header_name(&mut self, given: &Spanned<String>) -> Option<String> {
        match HeaderName::from_bytes(given.get_ref().as_bytes()) {
            Ok(name) if name == http::header::HOST => {
                self.refuse(given.span(), "HTTP/2 requests carry no `host` header", "write `host` beside `headers`");
                None
            }
            Ok(name) => Some(name.as_str().to_owned()),
            Err(_not_a_name) => {
                let message = format!("{:?} is not a header name", given.get_ref());
                self.refuse(given.span(), message, "write such as \"x-tenant\"");
                None
            }
        }
    }
}

/// IPv6 stands in brackets, as in a `Host` header.
fn is_ip(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map_or_else(|| host.parse::<Ipv4Addr>().is_ok(), |inner| inner.parse::<Ipv6Addr>().is_ok())
}
