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

#[cfg(test)]
mod tests {
    use super::super::parse;

    /// Fails when: a table that lets nobody in counts as one that does, or an address without a length is refused.
    #[test]
    fn a_table_that_lets_nobody_in_is_none() {
        let preview = |table: &str| {
            let text = "version = 1\n[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n";
            let text = format!("{text}[service.preview]\n{table}");
            parse(&text, "/etc/a.toml").unwrap().settings.services[0].preview.clone()
        };
        assert_eq!((preview(""), preview("allow = []")), (None, None));
        let networks = preview("allow = [\"192.0.2.7\", \"fd00::1/8\"]").unwrap().allow;
        assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7/32", "fd00::/8"]);
        let token_file = preview("token_file = \"t\"").unwrap().token_file.unwrap();
        assert_eq!(token_file, std::path::Path::new("/etc/t"));
    }
}
