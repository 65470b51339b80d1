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
    use super::{super::parse, *};

    fn read(table: &str) -> Result<Option<PreviewSettings>, String> {
        let text = "version = 1\n[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n";
        let text = format!("{text}[service.preview]\n{table}");
        let loaded = parse(&text, "/etc/a.toml").map_err(|problems| problems.to_string())?;
        Ok(loaded.settings.services[0].preview.clone())
    }

    /// Fails when: a table that lets nobody in counts as one that does, or an address without a length is refused.
    #[test]
    fn a_table_that_lets_nobody_in_is_none() {
        assert_eq!((read(""), read("allow = []")), (Ok(None), Ok(None)));
        let networks = read("allow = [\"192.0.2.7\", \"fd00::1/8\"]").unwrap().unwrap().allow;
        assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7/32", "fd00::/8"]);
        let token_file = read("token_file = \"t\"").unwrap().unwrap().token_file.unwrap();
        assert_eq!(token_file, std::path::Path::new("/etc/t"));
    }

    /// Fails when: what is written wrongly is taken for nothing.
    #[test]
    fn mistakes_are_told_with_their_place() {
        for (table, problem) in [
            ("allow = [\"office\"]", "7:10: service[0].preview.allow[0]: \"office\" is not a network"),
            ("token_file = \" \"", "7:14: service[0].preview.token_file: it is empty"),
            ("tokens = []", "service[0].preview.tokens: unknown key"),
        ] {
            let told = read(table).unwrap_err();
            assert!(told.contains(problem), "{told}");
        }
    }
}
