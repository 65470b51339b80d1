//! `[service.preview]`.

use std::path::PathBuf;

use ipnet::IpNet;

/// `[service.preview]`: who may send a request to a slot of their choice. One of the two is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviewSettings {
    /// Networks of clients, as `proxy.trusted_proxies` tells of them.
    pub allow: Vec<IpNet>,
    /// The bearer token's file; already joined with the config file's directory.
    pub token_file: Option<PathBuf>,
}
