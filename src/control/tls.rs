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
const PROBLEMS_MAX: usize = 30;

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
