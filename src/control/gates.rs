//! What gates are to look at, and the golden files they need.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    checks::{Demand, Gate, golden::Set},
    config::{Loaded, Problem, Problems, ServiceSettings},
    ids::ServiceName,
    switch::Change,
    upstream::Endpoint,
};

/// The golden requests of each service that has some.
pub type GoldenSets = BTreeMap<ServiceName, Arc<Set>>;

/// Reads what `service.gate.golden` of every service names: whenever the config file is read, and for `check`. Blocks on
/// the disk.
///
/// # Errors
/// Every problem of every file, by its line; of a file that cannot be used at all, with the place where it is named.
pub fn read_golden_files(loaded: &Loaded, config: &Path) -> Result<GoldenSets, Problems> {
    let (mut sets, mut problems) = (GoldenSets::new(), Vec::new());
    for (index, service) in loaded.settings.services.iter().enumerate() {
        let Some(path) = &service.gate.golden else { continue };
        match Set::read(path) {
            Ok(set) => drop(sets.insert(service.name.clone(), Arc::new(set))),
            Err(found) => {
                let key = format!("service[{index}].gate.golden");
                problems.extend(found.iter().map(|problem| named_by(loaded, config, &key, problem)));
            }
        }
    }
    if problems.is_empty() { Ok(sets) } else { Err(problems.into()) }
}

fn named_by(loaded: &Loaded, config: &Path, key: &str, problem: &Problem) -> Problem {
    if problem.place.is_some() {
        return problem.clone();
    }
    let message = format!("{}: {}", problem.file.display(), problem.message);
    loaded.problem(config, key, message, problem.hint.clone())
}

/// What the gate of a change demands.
pub(super) fn demand(change: Change) -> Demand {
    match change {
        Change::Rollback { .. } => Demand::OneLive,
        Change::Switch { .. } | Change::Replace { .. } => Demand::EveryEndpoint,
    }
}

/// The whole gate, for a slot that is to take all traffic. `active` are the endpoints that serve now.
pub(super) fn whole_gate(
    settings: &Arc<ServiceSettings>,
    golden: Option<&Arc<Set>>,
    endpoints: Vec<Arc<Endpoint>>,
    active: &[Arc<Endpoint>],
) -> Gate {
    // A slot is not compared with itself.
    let is_itself = active.iter().map(|one| one.id).eq(endpoints.iter().map(|one| one.id));
    let active = if is_itself { Vec::new() } else { active.to_vec() };
    let (settings, golden) = (settings.clone(), golden.cloned());
    Gate { endpoints, settings, demand: Demand::EveryEndpoint, golden, active }
}
