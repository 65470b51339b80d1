//! The two model servers, and the config file that puts the proxy in front of them.

use std::{fmt, io};

use super::{classifier::Version, server::Server};

/// Both model servers: version 1 in blue, version 2 in green. Dropping them kills them.
#[derive(Debug)]
pub struct Servers {
    pub blue: Server,
    pub green: Server,
}

impl Servers {
    /// Starts both on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// If a port could not be bound; the other server is stopped then.
    pub async fn start() -> io::Result<Servers> {
        Ok(Servers { blue: Server::start(Version::One).await?, green: Server::start(Version::Two).await? })
    }
}

/// The config file of the demo's proxy, to be written where its state may live: `[state]` is relative to the file.
/// The two addresses are written as they are (`127.0.0.1:0` takes a free port).
pub fn config_text(servers: &Servers, proxy_listen: impl fmt::Display, admin_listen: impl fmt::Display) -> String {
    let (blue, green) = (servers.blue.addr(), servers.green.addr());
    let (blue_version, green_version) = (servers.blue.version().as_str(), servers.green.version().as_str());
    format!(
        r#"# Written by `verdigris demo`.
version = 1
[proxy]
listen = "{proxy_listen}"
[admin]
listen = "{admin_listen}"
[state]
dir = "state"
[[service]]
name = "iris"
match = {{ path_prefix = "/v2/models/iris" }}
active = "blue"
[service.blue]
endpoints = ["http://{blue}"]
version = "{blue_version}"
[service.green]
endpoints = ["http://{green}"]
version = "{green_version}"
[service.health]
path = "/v2/health/ready"
"#
    )
}
