//! Reads the TLS files of all services: whenever the config file is read, and for `check`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use crate::{
    config::{Loaded, Problem, Problems, UpstreamTls},
    ids::ServiceName,
    upstream::TlsClient,
};

/// A file that thousands of services name would otherwise make a page of each of them, and to find the place of a problem
/// the config file is read once more.
pub(super) const PROBLEMS_MAX: usize = 30;

/// How each service's endpoints are known.
pub type TlsClients = BTreeMap<ServiceName, Arc<TlsClient>>;

/// Reads what `[service.tls]` of every service names. Blocks on the disk.
///
/// # Errors
/// Every file that cannot be used, thirty at most, with the place in the config file where it is named.
pub fn read_tls_files(loaded: &Loaded, config: &Path) -> Result<TlsClients, Problems> {
    let (mut clients, mut problems) = (TlsClients::new(), Vec::<Problem>::new());
    let mut read: HashMap<&UpstreamTls, Arc<TlsClient>> = HashMap::new();
    for (index, service) in loaded.settings.services.iter().enumerate() {
        // Thousands of services may well name the same files.
        let client = match read.get(&service.tls) {
            Some(client) => Ok(client.clone()),
            None => TlsClient::load(&format!("service[{index}].tls"), &service.tls),
        };
        match client {
            Ok(client) => {
                read.insert(&service.tls, client.clone());
                clients.insert(service.name.clone(), client);
            }
            Err(bad) => problems.push(loaded.problem(config, &bad.key, bad.error.to_string(), None)),
        }
        if problems.len() == PROBLEMS_MAX {
            break;
        }
    }
    if problems.is_empty() { Ok(clients) } else { Err(problems.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "\n[service.blue]\nendpoints = [\"http://h:1\"]\n";

    fn loaded(tls: &[&str]) -> Loaded {
        let service = |(index, tls): (usize, &&str)| {
            format!("[[service]]\nname = \"s{index}\"\nmatch.host = \"h{index}\"\n{tls}{SERVICE}")
        };
        let services: String = tls.iter().enumerate().map(service).collect();
        crate::config::parse(&format!("version = 1\n{services}"), "/nowhere/test.toml").unwrap()
    }

    /// Fails when: `read_tls_files` reads for each service, or gives one service what another names.
    #[test]
    fn services_that_name_the_same_files_share_what_stands_there() {
        let other = "tls.server_name = \"model.test\"";
        let clients = read_tls_files(&loaded(&["", other, "", other]), Path::new("test.toml")).unwrap();
        let of = |name: &str| &clients[&name.parse().unwrap()];
        assert!(Arc::ptr_eq(of("s0"), of("s2")) && Arc::ptr_eq(of("s1"), of("s3")));
        assert!(!of("s0").is_same(of("s1")));
    }

    /// Fails when: `read_tls_files` goes on for each of thousands of services.
    #[test]
    fn a_file_that_all_name_in_vain_is_told_of_thirty() {
        let problems = read_tls_files(&loaded(&["tls.ca = \"none.pem\""; 40]), Path::new("test.toml")).unwrap_err();
        assert_eq!(problems.lines().len(), PROBLEMS_MAX);
    }
}
