//! What gates are to look at, and the golden files they need.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    checks::{Connect, Demand, Gate, golden::Set},
    config::{Loaded, Problem, Problems, ServiceSettings},
    ids::ServiceName,
    switch::Change,
    upstream::{Endpoint, Workers},
};

/// What the files hold that a service's `[service.gate]` names.
#[derive(Clone, Debug, Default)]
pub struct GateFiles {
    golden: Option<Arc<Set>>,
    warm_up: Option<Arc<Set>>,
}

impl GateFiles {
    /// They were read from the same texts.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Arc<Set>>, other: &Option<Arc<Set>>| match (one, other) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        same(&self.golden, &other.golden) && same(&self.warm_up, &other.warm_up)
    }
}

/// The files of each service whose gate names some.
pub type GoldenSets = BTreeMap<ServiceName, Arc<GateFiles>>;

/// Reads what `golden` and `warm_up_requests` of every service's gate name: whenever the config file is read, and for `check`. Blocks on
/// the disk.
///
/// # Errors
/// Every problem of every file, by its line; of a file that cannot be used at all, with the place where it is named.
pub fn read_golden_files(loaded: &Loaded, config: &Path) -> Result<GoldenSets, Problems> {
    let (mut sets, mut problems) = (GoldenSets::new(), Vec::new());
    for (index, service) in loaded.settings.services.iter().enumerate() {
        let gate = &service.gate;
        let mut read = |path: &Option<PathBuf>, key: &str| match Set::read(path.as_ref()?) {
            Ok(set) => Some(Arc::new(set)),
            Err(found) => {
                let key = format!("service[{index}].gate.{key}");
                problems.extend(found.iter().map(|problem| named_by(loaded, config, &key, problem)));
                None
            }
        };
        let (golden, warm_up) = (read(&gate.golden, "golden"), read(&gate.warm_up_requests, "warm_up_requests"));
        if golden.is_some() || warm_up.is_some() {
            sets.insert(service.name.clone(), Arc::new(GateFiles { golden, warm_up }));
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

/// What the workers are to connect to before a change. What is put into a slot they do not know yet.
pub(super) fn connect(workers: &Workers, service: &ServiceName, change: Change) -> Option<Connect> {
    match change {
        Change::Switch { to } | Change::Rollback { to } => {
            Some(Connect { workers: workers.clone(), service: service.clone(), slot: to })
        }
        Change::Replace { .. } => None,
    }
}

/// The whole gate, for a slot that is to take all traffic. `active` are the endpoints that serve now.
pub(super) fn whole_gate(
    settings: &Arc<ServiceSettings>,
    files: Option<&Arc<GateFiles>>,
    endpoints: Vec<Arc<Endpoint>>,
    active: &[Arc<Endpoint>],
) -> Gate {
    // A slot is not compared with itself.
    let is_itself = active.iter().map(|one| one.id).eq(endpoints.iter().map(|one| one.id));
    let active = if is_itself { Vec::new() } else { active.to_vec() };
    let golden = files.and_then(|files| files.golden.clone());
    let warm_up = files.and_then(|files| files.warm_up.clone()).or_else(|| golden.clone());
    Gate {
        endpoints,
        settings: settings.clone(),
        demand: Demand::EveryEndpoint,
        golden,
        warm_up,
        active,
        connect: None,
    }
}
