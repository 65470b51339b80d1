//! Checks that a request is one, and finds its service.

use http::{HeaderValue, Method, Uri, Version, header, request::Parts, uri::Authority};

use super::{
    answer::Failure,
    headers::{self, Seen},
    http2,
};
use crate::{
    table::{RequestView, Table},
    telemetry::FailureKind,
};

/// Checks what the parser lets pass, and brings the request into one form: `Host` names the authority, the target is
/// in origin form (RFC 9112 section 3.2).
pub(super) fn normalise(request: &mut Parts, seen: Seen) -> Result<(), Failure> {
    if request.method == Method::CONNECT {
        return Err(Failure::new(FailureKind::MethodRefused, "CONNECT has no meaning at a reverse proxy"));
    }
    check_framing(request, seen)?;
    check_scheme(&request.uri)?;
    if request.version == Version::HTTP_2 {
        http2::check(request, seen)?;
    }
    if request.version < Version::HTTP_2 && request.uri.scheme().is_none() && request.uri.authority().is_some() {
        return Err(bad("the request target is not a path"));
    }
    let absolute = request.uri.authority().map(host_of).transpose()?;
    // HTTP/2's :authority and HTTP/1.1's absolute form both win over a Host field, which HTTP/1.1 must have all the same.
    if absolute.is_none() || request.version < Version::HTTP_2 {
        check_host(request)?;
    }
    if let Some(host) = absolute {
        request.headers.insert(header::HOST, host);
        request.uri = origin_form(std::mem::take(&mut request.uri))?;
    }
    let is_server_wide = request.method == Method::OPTIONS && request.uri.path() == "*";
    if !request.uri.path().starts_with('/') && !is_server_wide {
        return Err(bad("the request target is not a path"));
    }
    Ok(())
}

fn bad(message: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, message)
}

/// Exactly one `chunked`, and never beside a Content-Length (RFC 9112 sections 6.1 and 6.3). A length is written the
/// one way that nobody can misread.
fn check_framing(request: &mut Parts, seen: Seen) -> Result<(), Failure> {
    if seen.has(Seen::CONTENT_LENGTH)
        && let Some(length) = request.headers.get(header::CONTENT_LENGTH)
        && matches!(length.as_bytes(), [b'0', _, ..])
    {
        let digits: Option<u64> = length.to_str().ok().and_then(|text| text.parse().ok());
        let digits = digits.ok_or_else(|| bad("the Content-Length is not a number"))?;
        request.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(digits));
    }
    if !seen.has(Seen::TRANSFER_ENCODING) {
        return Ok(());
    }
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::new(FailureKind::UnknownCoding, "the only transfer coding taken is a single \"chunked\""));
    }
    if request.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(bad("Transfer-Encoding and Content-Length in one request"));
    }
    Ok(())
}

/// What is asked for must be on the Web (RFC 9110 section 4.2).
fn check_scheme(target: &Uri) -> Result<(), Failure> {
    match target.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(other) if other.eq_ignore_ascii_case("http") || other.eq_ignore_ascii_case("https") => Ok(()),
        Some(_) => Err(bad("the request target has a scheme other than http and https")),
    }
}

/// The `Host` field, which HTTP/1.1 must have exactly once (RFC 9112 section 3.2).
fn check_host(request: &Parts) -> Result<(), Failure> {
    let fields = &request.headers;
    let some_repeat = fields.len() > fields.keys_len();
    if some_repeat && fields.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(bad("more than one Host field"));
    }
    match headers::first(fields, &header::HOST) {
        Some(host) if is_host(host.as_bytes()) => Ok(()),
        Some(_) => Err(bad("the Host field is not a host name with an optional port")),
        None if request.version == Version::HTTP_11 => Err(bad("no Host field")),
        None if request.version >= Version::HTTP_2 => Err(bad("neither :authority nor Host")),
        None => Ok(()),
    }
}

fn host_of(authority: &Authority) -> Result<HeaderValue, Failure> {
    if !is_host(authority.as_str().as_bytes()) {
        return Err(bad("the authority is not a host name with an optional port"));
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_invalid| bad("the authority is not a field value"))
}

/// A host name or address and an optional port, by its characters (RFC 3986 section 3.2.2, without user information).
fn is_host(text: &[u8]) -> bool {
    is_plain_host(text) || is_any_host(text)
}

/// Letters, digits, dots and hyphens, and perhaps a port: what nearly all hosts are, seen in one pass.
fn is_plain_host(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len());
    end > 0
        && match &text[end..] {
            [] => true,
            [b':', port @ ..] => {
                port.iter().all(u8::is_ascii_digit) && (port.len() < 5 || port.len() == 5 && port <= &b"65535"[..])
            }
            _ => false,
        }
}

const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || byte == b'.' as usize || byte == b'-' as usize;
        byte += 1;
    }
    plain
};

fn is_any_host(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        Some(_) | None => (text, &b""[..]),
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let named = match host {
        [b'[', inside @ .., b']'] => inside.iter().all(|byte| plain(byte) || *byte == b':') && !inside.is_empty(),
        name => !name.is_empty() && name.iter().all(plain),
    };
    named && is_encoded(host) && is_port(port)
}

/// Each `%` begins two hexadecimal digits.
fn is_encoded(host: &[u8]) -> bool {
    let mut parts = host.split(|byte| *byte == b'%');
    parts.next();
    parts.all(|part| matches!(part, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn is_port(text: &[u8]) -> bool {
    let in_range = || std::str::from_utf8(text).is_ok_and(|text| text.parse::<u16>().is_ok());
    text.is_empty() || (text.iter().all(u8::is_ascii_digit) && in_range())
}

fn origin_form(uri: Uri) -> Result<Uri, Failure> {
    match uri.into_parts().path_and_query {
        Some(target) if target.as_str().starts_with('?') => {
            format!("/{}", target.as_str()).parse().map_err(|_invalid| bad("the request target is not a path"))
        }
        // A path that was nothing but a fragment calls itself "/" too, but makes an empty target.
        Some(target) if target.as_str() != "/" => Ok(target.into()),
        Some(_) | None => Ok(Uri::default()),
    }
}

/// The index of the service that takes the request.
pub(super) fn find(table: &Table, request: &Parts) -> Option<usize> {
    let host = headers::first(&request.headers, &header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    table.routes.find(RequestView { host, path: request.uri.path(), headers: &request.headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut builder = http::Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn requests_are_checked() {
        let chunked = ("transfer-encoding", "chunked");
        for (uri, fields, kind) in [
            ("/a", &[("host", "h")][..], None),
            ("/a", &[("host", "h:80")], None),
            ("/a", &[("host", "[::1]:80")], None),
            ("/a", &[], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "a"), ("host", "a")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "u@h")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h/p")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h:port")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h:")], None),
            ("/a", &[("host", "h:65536")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h%zz")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h%2")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h%2D%2d")], None),
            ("*", &[("host", "h")], Some(FailureKind::BadRequest)),
            ("http://h/", &[], Some(FailureKind::BadRequest)),
            ("http://h/", &[("host", "h"), ("host", "h")], Some(FailureKind::BadRequest)),
            ("ftp://h/", &[("host", "h")], Some(FailureKind::BadRequest)),
            ("h:80", &[("host", "h")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "a, b")], Some(FailureKind::BadRequest)),
            ("relative", &[("host", "h")], Some(FailureKind::BadRequest)),
            ("/a", &[("host", "h"), chunked], None),
            ("/a", &[("host", "h"), ("transfer-encoding", "Chunked")], None),
            ("/a", &[("host", "h"), ("transfer-encoding", "gzip, chunked")], Some(FailureKind::UnknownCoding)),
            ("/a", &[("host", "h"), chunked, chunked], Some(FailureKind::UnknownCoding)),
            ("/a", &[("host", "h"), chunked, ("content-length", "1")], Some(FailureKind::BadRequest)),
        ] {
            let mut parts = request(Version::HTTP_11, uri, fields);
            let seen = Seen::of(&parts.headers);
            assert_eq!(normalise(&mut parts, seen).err().map(|failure| failure.kind), kind, "{uri} {fields:?}");
        }
    }

    #[test]
    fn absolute_form_wins_over_host() {
        let mut parts = request(Version::HTTP_11, "http://real:81/a?b", &[("host", "other")]);
        normalise(&mut parts, Seen::default()).unwrap();
        assert_eq!(parts.uri, "/a?b");
        assert_eq!(parts.headers["host"], "real:81");
        let mut bare = request(Version::HTTP_11, "http://real?q", &[("host", "real")]);
        normalise(&mut bare, Seen::default()).unwrap();
        assert_eq!(bare.uri, "/?q");
        for uri in ["http://real", "http://real/", "http://real#f"] {
            let mut empty = request(Version::HTTP_11, uri, &[("host", "real")]);
            normalise(&mut empty, Seen::default()).unwrap();
            assert_eq!((empty.uri.path(), empty.uri.query()), ("/", None), "{uri}");
        }
    }

    /// Fails when: the short cut takes what the rule refuses, or misses an ordinary host.
    #[test]
    fn plain_hosts_are_hosts() {
        let letters = b"a9.-:%[]@/\xe4";
        for length in 0..6 {
            for number in 0..letters.len().pow(length) {
                let digit = |place| letters[number / letters.len().pow(place) % letters.len()];
                let host: Vec<u8> = (0..length).map(digit).collect();
                assert!(!is_plain_host(&host) || is_any_host(&host), "{:?}", host.escape_ascii().to_string());
            }
        }
        for host in ["127.0.0.1:9000", "h:65535", "h:10000", "models.test", "models-1.test:80", "h", "h:"] {
            assert!(is_plain_host(host.as_bytes()) && is_any_host(host.as_bytes()), "{host}");
        }
        for host in ["h:65536", "h:99999", "h:012345", "h_x", "[::1]", "", ":80"] {
            assert!(!is_plain_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn lengths_are_written_one_way() {
        let mut parts = request(Version::HTTP_11, "/", &[("host", "h"), ("content-length", "007")]);
        normalise(&mut parts, Seen::CONTENT_LENGTH).unwrap();
        assert_eq!(parts.headers["content-length"], "7");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        /// Fails when: strange requests make a panic, or pass without one form at the end.
        #[test]
        fn whatever_passes_is_in_one_form(
            uri in "(http://|HTTPS://|ftp://)?[a-z:@\\[\\]0-9]{0,6}/{0,2}[a-z?%*]{0,4}",
            hosts in proptest::collection::vec("[a-z:@,/\\[\\] 0-9]{0,5}", 0..3),
            lengths in proptest::collection::vec("[0-9+]{0,22}", 0..2),
            codings in proptest::collection::vec("(chunked|[ch,; ]{0,5})", 0..2),
            version in 0usize..3,
        ) {
            let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][version];
            let mut builder = http::Request::builder().version(version).uri(uri);
            let named = [("host", hosts), ("content-length", lengths), ("transfer-encoding", codings)];
            for (name, value) in named.iter().flat_map(|(name, values)| values.iter().map(move |value| (*name, value))) {
                builder = builder.header(name, value);
            }
            if let Ok(request) = builder.body(()) {
                let mut parts = request.into_parts().0;
                let seen = Seen::of(&parts.headers);
                if normalise(&mut parts, seen).is_ok() {
                    proptest::prop_assert!(parts.uri.authority().is_none() && parts.uri.path().starts_with('/'));
                    let hosts: Vec<_> = parts.headers.get_all(header::HOST).iter().collect();
                    proptest::prop_assert!(hosts.iter().all(|host| is_host(host.as_bytes())) && hosts.len() <= 1);
                    let framings = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
                    proptest::prop_assert!(framings.iter().filter(|name| parts.headers.contains_key(*name)).count() <= 1);
                }
            }
        }
    }
}
