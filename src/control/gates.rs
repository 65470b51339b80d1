//! What gates are to look at, and the golden files they need.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::tls::PROBLEMS_MAX;
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
/// Every problem of every file, thirty at most, by its line; of a file that cannot be used at all, with each place where
/// it is named.
pub fn read_golden_files(loaded: &Loaded, config: &Path) -> Result<GoldenSets, Problems> {
    let (mut sets, mut files) = (GoldenSets::new(), Files::new(loaded, config));
    for (index, service) in loaded.settings.services.iter().enumerate() {
        let gate = &service.gate;
        let golden = files.read(gate.golden.as_deref(), index, "golden");
        let warm_up = files.read(gate.warm_up_requests.as_deref(), index, "warm_up_requests");
        if golden.is_some() || warm_up.is_some() {
            sets.insert(service.name.clone(), Arc::new(GateFiles { golden, warm_up }));
        }
        if files.problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    files.problems.truncate(PROBLEMS_MAX);
    if files.problems.is_empty() { Ok(sets) } else { Err(files.problems.into()) }
}

/// The files of one reading: thousands of services may well name the same.
struct Files<'l> {
    loaded: &'l Loaded,
    config: &'l Path,
    /// What each holds, or what is wrong with it as a whole.
    read: HashMap<&'l Path, Result<Arc<Set>, Vec<Problem>>>,
    problems: Vec<Problem>,
}

impl<'l> Files<'l> {
    fn new(loaded: &'l Loaded, config: &'l Path) -> Self {
        Self { loaded, config, read: HashMap::new(), problems: Vec::new() }
    }

    /// What stands in the file that this key of a service's gate names.
    fn read(&mut self, path: Option<&'l Path>, service: usize, key: &str) -> Option<Arc<Set>> {
        let path = path?;
        let problems = &mut self.problems;
        let read = self.read.entry(path).or_insert_with(|| match Set::read(path) {
            Ok(set) => Ok(Arc::new(set)),
            Err(found) => {
                // What is wrong in a line is told once, however many services name the file.
                let (in_lines, of_file): (Vec<_>, _) = found.iter().cloned().partition(|one| one.place.is_some());
                problems.extend(in_lines);
                Err(of_file)
            }
        });
        match read {
            Ok(set) => Some(set.clone()),
            Err(of_file) => {
                let key = format!("service[{service}].gate.{key}");
                let named = of_file.iter().map(|problem| named_by(self.loaded, self.config, &key, problem));
                problems.extend(named);
                None
            }
        }
    }
}

/// What is wrong with a file as a whole, told where it is named.
fn named_by(loaded: &Loaded, config: &Path, key: &str, problem: &Problem) -> Problem {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A config file in `dir` whose services name these golden files.
    fn loaded(dir: &Path, golden: &[&str]) -> Loaded {
        let service = |(index, golden): (usize, &&str)| {
            format!(
                "[[service]]\nname = \"s{index}\"\nmatch.host = \"h{index}\"\ngate.golden = \"{golden}\"\n\
                 [service.blue]\nendpoints = [\"http://h:1\"]\n"
            )
        };
        let services: String = golden.iter().enumerate().map(service).collect();
        crate::config::parse(&format!("version = 1\n{services}"), dir.join("test.toml")).unwrap()
    }

    const CASE: &str =
        "{\"name\": \"one\", \"request\": {\"method\": \"GET\", \"path\": \"/\"}, \"expect\": {\"status\": 200}}\n";

    /// Fails when: `Files::read` reads for each service, or gives one service what another names.
    #[test]
    fn services_that_name_the_same_file_share_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jsonl"), CASE).unwrap();
        std::fs::write(dir.path().join("b.jsonl"), CASE).unwrap();
        let loaded = loaded(dir.path(), &["a.jsonl", "b.jsonl", "a.jsonl"]);
        let sets = read_golden_files(&loaded, &dir.path().join("test.toml")).unwrap();
        let of = |name: &str| sets[&name.parse().unwrap()].golden.clone().unwrap();
        assert!(Arc::ptr_eq(&of("s0"), &of("s2")) && !Arc::ptr_eq(&of("s0"), &of("s1")));
    }

    /// Fails when: `read_golden_files` tells a wrong line for each service that names its file, or goes on for each of
    /// thousands of services.
    #[test]
    fn a_bad_file_that_all_name_is_not_a_page_for_each() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad.jsonl"), "{\n").unwrap();
        let lines = |names: &[&str]| {
            read_golden_files(&loaded(dir.path(), names), &dir.path().join("test.toml")).unwrap_err().lines()
        };
        assert_eq!(lines(&["bad.jsonl"; 40]).len(), 1);
        assert_eq!(lines(&["none.jsonl"; 40]).len(), PROBLEMS_MAX);
    }
}
