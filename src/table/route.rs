//! Which service takes a request.
//!
//! The most specific rule wins: a host given beats a wildcard host beats none, then the longer path prefix, then more
//! headers. Looking a request up costs one hash per label of its host and distinct prefix length, whatever the number of
//! services.

use std::borrow::Cow;

use fnv::FnvHashMap;
use http::HeaderMap;

use crate::config::settings::MatchRule;

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// As the client wrote it: with a port or without, in any case.
    pub host: &'a [u8],
    /// Without query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
}

/// An index over the rules of a table. Its keys are the operator's, so nobody can make them collide, and a quick hash will
/// do.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: FnvHashMap<String, Paths>,
    /// By suffixes such as `.example.org` of `*.example.org`.
    wildcards: FnvHashMap<String, Paths>,
    any_host: Paths,
}

/// The rules of one host, by path prefix.
#[derive(Debug, Default)]
struct Paths {
    by_prefix: FnvHashMap<String, Vec<Candidate>>,
    /// The distinct lengths of the prefixes, longest first.
    lengths: Vec<usize>,
}

/// A rule whose host and prefix hold; those with more headers stand first.
#[derive(Debug)]
struct Candidate {
    headers: Vec<(String, String)>,
    service: usize,
}

impl Routes {
    /// An index; the rules' positions are the services' indices.
    pub fn new<'a>(rules: impl Iterator<Item = &'a MatchRule>) -> Self {
        let mut routes = Routes::default();
        for (service, rule) in rules.enumerate() {
            let paths = match rule.host.as_deref() {
                None => &mut routes.any_host,
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => routes.wildcards.entry(suffix.to_owned()).or_default(),
                    None => routes.hosts.entry(host.to_owned()).or_default(),
                },
            };
            paths.add(rule, service);
        }
        for paths in routes.hosts.values_mut().chain(routes.wildcards.values_mut()) {
            paths.finish();
        }
        routes.any_host.finish();
        routes
    }

    /// The index of the service that takes the request.
    pub fn find(&self, request: RequestView<'_>) -> Option<usize> {
        if !self.hosts.is_empty() || !self.wildcards.is_empty() {
            let host = name_of(request.host);
            let host = host.as_ref();
            if let Some(service) = self.hosts.get(host).and_then(|paths| paths.find(request)) {
                return Some(service);
            }
            if let Some(service) = self.find_wild(host, request) {
                return Some(service);
            }
        }
        self.any_host.find(request)
    }

    /// The longest suffix first, which begins at the first dot that has something before it.
    fn find_wild(&self, host: &str, request: RequestView<'_>) -> Option<usize> {
        if self.wildcards.is_empty() {
            return None;
        }
        let mut dots = host.match_indices('.').filter(|(at, _)| *at > 0);
        dots.find_map(|(at, _)| self.wildcards.get(&host[at..])?.find(request))
    }
}

/// The name in a `Host`, in lower case, without port and final dot.
fn name_of(host: &[u8]) -> Cow<'_, str> {
    let host = without_port(std::str::from_utf8(host).unwrap_or_default());
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        Some(_) | None => host,
    }
}

impl Paths {
    fn add(&mut self, rule: &MatchRule, service: usize) {
        // `/` and a missing prefix both take every path.
        let prefix = rule.path_prefix.as_deref().unwrap_or_default().trim_end_matches('/');
        let candidate = Candidate { headers: rule.headers.clone(), service };
        self.by_prefix.entry(prefix.to_owned()).or_default().push(candidate);
    }

    fn finish(&mut self) {
        self.lengths = self.by_prefix.keys().map(String::len).collect();
        self.lengths.sort_unstable_by(|a, b| b.cmp(a));
        self.lengths.dedup();
        for candidates in self.by_prefix.values_mut() {
            candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.headers.len()));
        }
    }

    fn find(&self, request: RequestView<'_>) -> Option<usize> {
        self.lengths.iter().find_map(|length| {
            let prefix = request.path.get(..*length).filter(|_| ends_segment(request.path, *length))?;
            let candidates = self.by_prefix.get(prefix)?;
            candidates.iter().find(|candidate| candidate.fits(request.headers)).map(|candidate| candidate.service)
        })
    }
}

/// True if a prefix of this length ends where a segment ends. A colon ends one too: `/v1/models/iris:predict`.
fn ends_segment(path: &str, length: usize) -> bool {
    length == 0 || matches!(path.as_bytes().get(length), None | Some(b'/' | b':'))
}

impl Candidate {
    fn fits(&self, headers: &HeaderMap) -> bool {
        self.headers
            .iter()
            .all(|(name, value)| headers.get_all(name).iter().any(|given| given.as_bytes() == value.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: Option<&str>, prefix: Option<&str>, headers: &[(&str, &str)]) -> MatchRule {
        MatchRule {
            host: host.map(str::to_owned),
            path_prefix: prefix.map(str::to_owned),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn find(rules: &[MatchRule], host: &str, path: &str, headers: &[(&'static str, &str)]) -> Option<usize> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Routes::new(rules.iter()).find(RequestView { host: host.as_bytes(), path, headers: &headers })
    }

    #[test]
    fn the_longest_prefix_wins_on_whole_segments() {
        let rules = [
            rule(None, Some("/v2"), &[]),
            rule(None, Some("/v2/models/iris"), &[]),
            rule(None, Some("/v2/models/iris/versions/2/"), &[]),
        ];
        for (path, service) in [
            ("/v2", Some(0)),
            ("/v2/models/iris", Some(1)),
            ("/v2/models/iris/infer", Some(1)),
            ("/v2/models/iris:predict", Some(1)),
            ("/v2/models/iris2/infer", Some(0)),
            ("/v2/models/iris/versions/2/infer", Some(2)),
            ("/v2/models/iris/versions/2", Some(2)),
            ("/v2/models/iris/versions/20", Some(1)),
            ("/v1", None),
            ("/v2ä", None),
            ("*", None),
        ] {
            assert_eq!(find(&rules, "h", path, &[]), service, "{path}");
        }
    }

    #[test]
    fn hosts_beat_wildcards_beat_none() {
        let rules = [
            rule(None, Some("/long/prefix"), &[]),
            rule(Some("*.example.org"), None, &[]),
            rule(Some("a.example.org"), Some("/a"), &[]),
            rule(Some("*.b.example.org"), None, &[]),
        ];
        for (host, path, service) in [
            ("A.Example.org", "/a", Some(2)),
            ("a.example.org.", "/a/x", Some(2)),
            ("a.example.org.:80", "/a/x", Some(2)),
            ("a.example.org", "/other", Some(1)),
            ("x.b.example.org", "/", Some(3)),
            ("example.org", "/", None),
            ("other", "/long/prefix", Some(0)),
        ] {
            assert_eq!(find(&rules, host, path, &[]), service, "{host}{path}");
        }
    }

    #[test]
    fn hosts_are_looked_up_by_name() {
        for (host, name) in
            [("h", "h"), ("H.Test:80", "h.test"), ("h.", "h"), ("[::1]", "[::1]"), ("[::A]:80", "[::a]"), ("", "")]
        {
            assert_eq!(name_of(host.as_bytes()), name);
        }
    }

    #[test]
    fn headers_break_ties_and_fall_through() {
        let rules = [
            rule(None, Some("/m"), &[]),
            rule(None, Some("/m"), &[("x-tier", "gold")]),
            rule(None, Some("/m"), &[("x-tier", "gold"), ("x-team", "a")]),
            rule(None, Some("/m/deep"), &[("x-team", "b")]),
        ];
        for (path, headers, service) in [
            ("/m", &[][..], Some(0)),
            ("/m", &[("x-tier", "gold")], Some(1)),
            ("/m", &[("x-tier", "gold"), ("x-team", "a")], Some(2)),
            ("/m", &[("x-tier", "silver")], Some(0)),
            ("/m/deep", &[("x-team", "b")], Some(3)),
            ("/m/deep", &[], Some(0)),
        ] {
            assert_eq!(find(&rules, "h", path, headers), service, "{path} {headers:?}");
        }
    }

    #[test]
    fn a_rule_without_parts_takes_everything() {
        let rules = [rule(None, None, &[])];
        for path in ["/", "/x", "*", ""] {
            assert_eq!(find(&rules, "", path, &[]), Some(0));
        }
    }
}
