//! Reads the preview tokens of all services: whenever the config file is read, and for `check`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::tls::PROBLEMS_MAX;
use crate::{
    config::{Loaded, Problem, Problems},
    ids::ServiceName,
    net::{Secret, SecretError},
    table::Preview,
};

/// Who may choose a slot, of each service where somebody may.
pub type Previews = BTreeMap<ServiceName, Arc<Preview>>;

/// Reads what `service.preview.token_file` of every service names. Blocks on the disk.
///
/// # Errors
/// Every file without a usable token, thirty at most, with the place in the config file where it is named.
pub fn read_preview_tokens(loaded: &Loaded, config: &Path) -> Result<Previews, Problems> {
    let (mut previews, mut problems) = (Previews::new(), Vec::<Problem>::new());
    for (index, service) in loaded.settings.services.iter().enumerate() {
        let Some(settings) = &service.preview else { continue };
        match settings.token_file.as_deref().map(Secret::read).transpose() {
            Ok(token) => {
                let preview = Preview::new(settings.allow.clone(), token);
                previews.insert(service.name.clone(), Arc::new(preview));
            }
            Err(bad) => {
                let key = format!("service[{index}].preview.token_file");
                problems.push(loaded.problem(config, &key, in_words(&bad), None));
            }
        }
        if problems.len() == PROBLEMS_MAX {
            break;
        }
    }
    if problems.is_empty() { Ok(previews) } else { Err(problems.into()) }
}

/// With the cause, where the file is at fault and not what stands in it.
fn in_words(bad: &SecretError) -> String {
    match std::error::Error::source(bad) {
        Some(cause) => format!("{bad}: {cause}"),
        None => bad.to_string(),
    }
}
