//! Reads the TLS files of all services: whenever the config file is read, and for `check`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    config::{Loaded, Problem, Problems},
    ids::ServiceName,
    upstream::TlsClient,
};

/// How each service's endpoints are known.
pub type TlsClients = BTreeMap<ServiceName, Arc<TlsClient>>;

/// Reads what `[service.tls]` of every service names. Blocks on the disk.
///
/// # Errors
/// Every file that cannot be used, with the place in the config file where it is named.
pub fn read_tls_files(loaded: &Loaded, config: &Path) -> Result<TlsClients, Problems> {
    let (mut clients, mut problems) = (TlsClients::new(), Vec::<Problem>::new());
    for (index, service) in loaded.settings.services.iter().enumerate() {
        match TlsClient::load(&format!("service[{index}].tls"), &service.tls) {
            Ok(client) => drop(clients.insert(service.name.clone(), client)),
            Err(bad) => problems.push(loaded.problem(config, &bad.key, bad.error.to_string(), None)),
        }
    }
    if problems.is_empty() { Ok(clients) } else { Err(problems.into()) }
}
