//! Where the admin API is: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where the admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// `HOST:PORT`, as it goes into the `Host` header.
    Tcp {
        authority: String,
    },
    /// The same over TLS.
    Tls {
        authority: String,
    },
    Unix(PathBuf),
}

/// Why a text is not the address of an admin API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAdminAddress {
    #[error(
        "{0:?} does not begin with http://, https:// or unix:; write such as http://127.0.0.1:9900 or unix:/run/verdigris.sock"
    )]
    Scheme(String),
    #[error("{0:?} has no host and port; write such as http://127.0.0.1:9900")]
    Authority(String),
    #[error("the admin API takes no path behind its address, but got {0:?}; leave it out")]
    Path(String),
    #[error("unix: needs the path of a socket, such as unix:/run/verdigris.sock")]
    NoSocket,
}

impl FromStr for AdminAddress {
    type Err = BadAdminAddress;

    fn from_str(text: &str) -> Result<Self, BadAdminAddress> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_unix(path);
        }
        match text.split_once("://") {
            Some(("http", rest)) => Ok(AdminAddress::Tcp { authority: parse_authority(rest)? }),
            Some(("https", rest)) => Ok(AdminAddress::Tls { authority: parse_authority(rest)? }),
            _ => Err(BadAdminAddress::Scheme(text.to_owned())),
        }
    }
}

/// `unix:/PATH`, `unix:///PATH`, or a path from where the command runs.
fn parse_unix(path: &str) -> Result<AdminAddress, BadAdminAddress> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() { Err(BadAdminAddress::NoSocket) } else { Ok(AdminAddress::Unix(path.into())) }
}

fn parse_authority(rest: &str) -> Result<String, BadAdminAddress> {
    let bad = || BadAdminAddress::Authority(rest.to_owned());
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !matches!(path, "" | "/") {
        return Err(BadAdminAddress::Path(path.to_owned()));
    }
    let parsed: http::uri::Authority = authority.parse().map_err(|_unhelpful: http::uri::InvalidUri| bad())?;
    if parsed.host().is_empty() || parsed.port_u16().is_none() || authority.contains('@') {
        return Err(bad());
    }
    Ok(authority.to_owned())
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp { authority } => write!(f, "http://{authority}"),
            AdminAddress::Tls { authority } => write!(f, "https://{authority}"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for good in [
            "http://127.0.0.1:9900",
            "http://[::1]:9900",
            "http://edge.example:80",
            "https://edge.example:9900",
            "unix:/run/v.sock",
        ] {
            assert_eq!(good.parse::<AdminAddress>().map(|address| address.to_string()), Ok(good.to_owned()));
        }
        assert_eq!("http://a:1/".parse(), Ok(AdminAddress::Tcp { authority: "a:1".into() }));
        assert_eq!("unix:///run/v".parse(), Ok(AdminAddress::Unix("/run/v".into())));
    }

    #[test]
    fn a_bad_address_says_what_to_write() {
        let of = |text: &str| text.parse::<AdminAddress>();
        assert_eq!(of("127.0.0.1:9900"), Err(BadAdminAddress::Scheme("127.0.0.1:9900".into())));
        assert_eq!(of("https://a"), Err(BadAdminAddress::Authority("a".into())));
        for bad in ["http://", "http://a", "http://a:x", "http://u@a:1", "http://:1"] {
            assert!(matches!(of(bad), Err(BadAdminAddress::Authority(_))), "{bad}");
        }
        assert_eq!(of("http://a:1/v1"), Err(BadAdminAddress::Path("/v1".into())));
        assert_eq!(of("unix:"), Err(BadAdminAddress::NoSocket));
    }
}
