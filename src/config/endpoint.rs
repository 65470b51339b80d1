//! Upstream addresses: from text to [`EndpointUrl`] and [`EndpointSettings`], with texts that say what to write instead.
//! The admin API reads its endpoints through the same door.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

use super::settings::{EndpointSettings, EndpointUrl, UpstreamAddress, UpstreamProtocol};

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    #[error("{0:?} does not begin with http://, https://, h2c://, grpcs:// or unix:")]
    Scheme(String),
    #[error("{0:?} has no host")]
    NoHost(String),
    #[error("{0:?} is not a host name or IP address")]
    Host(String),
    #[error("{0:?} is not a port")]
    Port(String),
    #[error("an endpoint takes no user name or password")]
    UserInfo,
    #[error("an endpoint takes no path or query: {0:?}")]
    Path(String),
    #[error("{0:?} is not an absolute socket path of at most 107 bytes")]
    UnixPath(String),
    #[error("gRPC needs HTTP/2, but {0:?} asks for HTTP/1.1")]
    GrpcOverHttp1(String),
    #[error("an endpoint needs an address")]
    NoAddress,
}

impl BadEndpoint {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            BadEndpoint::Scheme(text) => {
                let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
                format!(
                    "write \"http://{rest}\" for HTTP/1.1 or \"h2c://{rest}\" for HTTP/2 and gRPC; with TLS \"https://{rest}\" \
                     or \"grpcs://{rest}\""
                )
            }
            BadEndpoint::NoHost(_) => "write such as \"http://127.0.0.1:9001\"".into(),
            BadEndpoint::Host(_) => {
                "write such as \"http://127.0.0.1:9001\", \"http://[::1]:9001\" or \"http://model.example.org:9001\""
                    .into()
            }
            BadEndpoint::Port(_) => "a port is a number from 1 to 65535".into(),
            BadEndpoint::UserInfo => "leave out what stands before the @".into(),
            BadEndpoint::Path(_) => "the request's own path is passed on; `match.path_prefix` picks it".into(),
            BadEndpoint::UnixPath(_) => "write such as \"unix:/run/model.sock\"".into(),
            BadEndpoint::GrpcOverHttp1(rest) => format!("write \"h2c://{rest}\", or \"grpcs://{rest}\" with TLS"),
            BadEndpoint::NoAddress => {
                "write a URL, or `http`, `grpc` or both: { http = \"http://…\", grpc = \"h2c://…\" }".into()
            }
        }
    }
}

impl EndpointSettings {
    /// An endpoint with one address for everything; gRPC goes there too if it is HTTP/2.
    pub fn from_url(url: &str) -> Result<Self, BadEndpoint> {
        Ok(Self { http: Some(url.parse()?), grpc: None })
    }

    /// An endpoint with an address for HTTP, one for gRPC, or both.
    pub fn parse(http: Option<&str>, grpc: Option<&str>) -> Result<Self, BadEndpoint> {
        if http.is_none() && grpc.is_none() {
            return Err(BadEndpoint::NoAddress);
        }
        let http = http.map(str::parse).transpose()?;
        let grpc = grpc.map(parse_grpc).transpose()?;
        Ok(Self { http, grpc })
    }

    /// Its addresses, HTTP first.
    pub fn addresses(&self) -> impl Iterator<Item = &UpstreamAddress> {
        [&self.http, &self.grpc].into_iter().flatten().map(|url| &url.address)
    }
}

/// gRPC is always HTTP/2. A unix socket has no word for it in its URL, so the place where it stands says it.
fn parse_grpc(text: &str) -> Result<EndpointUrl, BadEndpoint> {
    let url: EndpointUrl = text.parse()?;
    match (&url.address, url.protocol) {
        (UpstreamAddress::Tcp { .. }, UpstreamProtocol::Http1) => {
            let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
            Err(BadEndpoint::GrpcOverHttp1(shortened(rest.trim())))
        }
        _ => Ok(EndpointUrl { protocol: UpstreamProtocol::H2c, ..url }),
    }
}

impl FromStr for EndpointUrl {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self { protocol: UpstreamProtocol::Http1, tls: false, address: parse_unix(path)? });
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Err(scheme_missing(text)) };
        let (protocol, tls) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (UpstreamProtocol::Http1, false),
            "https" => (UpstreamProtocol::Http1, true),
            "h2c" | "grpc" => (UpstreamProtocol::H2c, false),
            "grpcs" | "h2" => (UpstreamProtocol::H2c, true),
            _ => return Err(BadEndpoint::Scheme(shortened(text))),
        };
        let default_port = if tls { HTTPS_PORT } else { HTTP_PORT };
        Ok(Self { protocol, tls, address: parse_authority(rest, default_port)? })
    }
}

fn scheme_missing(text: &str) -> BadEndpoint {
    if text.is_empty() { BadEndpoint::NoAddress } else { BadEndpoint::Scheme(shortened(text)) }
}

/// `unix:/PATH` or `unix:///PATH`. The kernel takes 107 bytes.
fn parse_unix(path: &str) -> Result<UpstreamAddress, BadEndpoint> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.starts_with('/') && path.len() > 1 && path.len() <= UNIX_PATH_BYTES_MAX && !path.contains('\0') {
        Ok(UpstreamAddress::Unix(PathBuf::from(path)))
    } else {
        Err(BadEndpoint::UnixPath(shortened(path)))
    }
}

fn parse_authority(rest: &str, default_port: u16) -> Result<UpstreamAddress, BadEndpoint> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(BadEndpoint::UserInfo);
    }
    if !matches!(path, "" | "/") {
        return Err(BadEndpoint::Path(shortened(path)));
    }
    let (host, port) = split_port(authority);
    if host.is_empty() {
        return Err(BadEndpoint::NoHost(shortened(rest)));
    }
    Ok(UpstreamAddress::Tcp { host: parse_host(host)?, port: port.map_or(Ok(default_port), parse_port)? })
}

/// The colons of an IPv6 address stand in brackets; what follows them is the port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let brackets_end = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[brackets_end..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(brackets_end + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

fn parse_port(port: &str) -> Result<u16, BadEndpoint> {
    let plain = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| plain && *number > 0).ok_or_else(|| BadEndpoint::Port(shortened(port)))
}

/// In lower case; IPv6 without its brackets.
fn parse_host(host: &str) -> Result<String, BadEndpoint> {
    let bad = || BadEndpoint::Host(shortened(host));
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_not_an_address| bad());
    }
    let host = host.to_ascii_lowercase();
    if is_host_name(host.strip_suffix('.').unwrap_or(&host)) || host.parse::<Ipv4Addr>().is_ok() {
        Ok(host)
    } else {
        Err(bad())
    }
}

/// A DNS name (with the `_` that container networks use). A name whose last label is a number is an IP address gone wrong.
pub(super) fn is_host_name(host: &str) -> bool {
    let label_fits = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let numeric_end = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label_fits) && !numeric_end
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A URL without a port means one of these.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// `sockaddr_un` holds 108 bytes, one of them the end.
pub(super) const UNIX_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_print_as_they_are_meant() {
        for (text, expected) in [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
            ("HTTP://Model.Example.ORG", "http://model.example.org:80"),
            ("h2c://[::1]:9003", "h2c://[::1]:9003"),
            ("h2c://[0:0::1]", "h2c://[::1]:80"),
            ("http://my_model-2.svc.:8000", "http://my_model-2.svc.:8000"),
            ("https://model.example.org", "https://model.example.org:443"),
            ("grpcs://[::1]:9003", "grpcs://[::1]:9003"),
            ("h2://h", "grpcs://h:443"),
            ("grpc://h:1", "h2c://h:1"),
            ("unix:/run/model.sock", "unix:/run/model.sock"),
            ("unix:///run/model.sock", "unix:/run/model.sock"),
        ] {
            let url: EndpointUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), expected);
            assert_eq!(url.to_string().parse(), Ok(url), "reads back what it prints");
        }
    }

    #[test]
    fn bad_urls_say_why() {
        for (text, expected) in [
            ("", BadEndpoint::NoAddress),
            ("127.0.0.1:9001", BadEndpoint::Scheme("127.0.0.1:9001".into())),
            ("ftp://h:1", BadEndpoint::Scheme("ftp://h:1".into())),
            ("http://", BadEndpoint::NoHost("".into())),
            ("http://:9001", BadEndpoint::NoHost(":9001".into())),
            ("http://h:0", BadEndpoint::Port("0".into())),
            ("http://h:", BadEndpoint::Port("".into())),
            ("http://h:+80", BadEndpoint::Port("+80".into())),
            ("http://h:65536", BadEndpoint::Port("65536".into())),
            ("http://h:80:90", BadEndpoint::Port("80:90".into())),
            ("http://user:word@h:1", BadEndpoint::UserInfo),
            ("http://h:1/v2", BadEndpoint::Path("/v2".into())),
            ("http://h:1?x", BadEndpoint::Path("?x".into())),
            ("http://a b:1", BadEndpoint::Host("a b".into())),
            ("http://999.1.1.1:1", BadEndpoint::Host("999.1.1.1".into())),
            ("http://-x:1", BadEndpoint::Host("-x".into())),
            ("http://a..b:1", BadEndpoint::Host("a..b".into())),
            ("http://[::1:1", BadEndpoint::Host("[".into())),
            ("http://[fe80::1%eth0]:1", BadEndpoint::Host("[fe80::1%eth0]".into())),
            ("http://[::1]x:1", BadEndpoint::Host("[::1]x".into())),
            ("http://höst:1", BadEndpoint::Host("höst".into())),
            ("unix:run/x.sock", BadEndpoint::UnixPath("run/x.sock".into())),
            ("unix:", BadEndpoint::UnixPath("".into())),
        ] {
            let found = text.parse::<EndpointUrl>().unwrap_err();
            assert_eq!(found, expected, "{text}");
            assert!(!found.hint().is_empty());
        }
    }

    #[test]
    fn a_password_never_gets_into_a_message() {
        let bad = "http://me:secret@h:1".parse::<EndpointUrl>().unwrap_err();
        assert!(!format!("{bad} {}", bad.hint()).contains("secret"));
    }

    #[test]
    fn grpc_is_always_http2() {
        let pair = EndpointSettings::parse(Some("http://h:1"), Some("unix:/run/grpc.sock")).unwrap();
        assert_eq!(pair.grpc.unwrap().protocol, UpstreamProtocol::H2c);
        assert_eq!(EndpointSettings::parse(None, Some("http://h:1")), Err(BadEndpoint::GrpcOverHttp1("h:1".into())),);
        assert_eq!(EndpointSettings::parse(None, Some("https://h:1")), Err(BadEndpoint::GrpcOverHttp1("h:1".into())),);
        assert_eq!(EndpointSettings::parse(None, Some("grpcs://h")).unwrap().to_string(), "grpcs://h:443");
        assert_eq!(EndpointSettings::parse(None, None), Err(BadEndpoint::NoAddress));
        assert_eq!(EndpointSettings::from_url("h2c://h:1").unwrap().to_string(), "h2c://h:1");
    }
}
