//! From the schema to settings: defaults filled in, values parsed, and everything that cannot hold told at once.
//!
//! Invariant: each problem is noted where it is found and a default takes the wrong value's place, so that the rest is
//! still checked; settings leave this room only if nothing was noted. Never: reading the disk.

mod clash;
mod edits;
mod match_rule;
mod process;
mod service;
mod slot;
mod tls;
mod traffic;
mod values;

use std::{path::PathBuf, sync::Arc};

use toml::Spanned;

use super::{
    Problem, Problems,
    schema::{File, Service},
    settings::{ServiceSettings, Settings},
    source::{Source, Span},
};

/// Checks a whole file; beside the settings stand the warnings.
pub(super) fn check(file: &File, source: &Source<'_>) -> Result<(Settings, Vec<Problem>), Problems> {
    let mut check = Check::new(source);
    let services = check.services(file);
    let settings = check.together(file, services);
    if check.problems.is_empty() { Ok((settings, check.warnings)) } else { Err(check.problems.into()) }
}

/// Checks what stands before the services, together with `services`, each of which was found right. `None` if there is
/// anything to say, which is to be said with the whole file at hand.
pub(super) fn check_parts(
    head: &File,
    source: &Source<'_>,
    services: impl IntoIterator<Item = Arc<ServiceSettings>>,
) -> Option<Settings> {
    let mut check = Check::new(source);
    let settings = check.together(head, services.into_iter().map(|service| (None, service)).collect());
    check.has_nothing_to_say().then_some(settings)
}

/// Checks a service by itself. `None` if there is anything to say.
pub(super) fn check_service(written: &Spanned<Service>, source: &Source<'_>) -> Option<Arc<ServiceSettings>> {
    let mut check = Check::new(source);
    let service = check.service(written).map(Arc::new);
    service.filter(|_| check.has_nothing_to_say())
}

/// A service as written, if that is at hand, and as understood.
type Checked<'f> = (Option<&'f Spanned<Service>>, Arc<ServiceSettings>);

/// What was found so far.
struct Check<'s> {
    source: &'s Source<'s>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'s> Check<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        Self { source, problems: Vec::new(), warnings: Vec::new() }
    }

    fn has_nothing_to_say(&self) -> bool {
        self.problems.is_empty() && self.warnings.is_empty()
    }

    /// What stands before the services, and all of them beside each other.
    fn together(&mut self, file: &File, services: Vec<Checked<'_>>) -> Settings {
        let (proxy, admin) = (self.proxy(&file.proxy), self.admin(&file.admin));
        let (state_dir, log) = (self.state_dir(&file.state), self.log(&file.log));
        self.listeners_differ(&proxy, &admin, file);
        self.names_differ(&services);
        self.rules_differ(&services);
        self.services_fit(&services, &proxy);
        let services = services.into_iter().map(|(_, settings)| settings).collect();
        Settings { proxy, admin, state_dir, log, services }
    }

    fn refuse(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(self.source.problem(span, message, Some(hint.into())));
    }

    fn warn(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(self.source.problem(span, message, Some(hint.into())));
    }

    fn services<'f>(&mut self, file: &'f File) -> Vec<Checked<'f>> {
        if file.service.is_empty() {
            self.refuse(0..0, "there is no service", "add a `[[service]]`, such as the one in config/single.toml");
        }
        file.service.iter().filter_map(|written| Some((Some(written), Arc::new(self.service(written)?)))).collect()
    }

    /// Relative paths start where the file lies, not where the process was started.
    fn beside_the_file(&self, path: &str) -> PathBuf {
        self.source.file().parent().map(|directory| directory.join(path)).unwrap_or_else(|| path.into())
    }
}
