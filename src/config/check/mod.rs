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
    let mut check = Check { source, problems: Vec::new(), warnings: Vec::new() };
    let (proxy, admin) = (check.proxy(&file.proxy), check.admin(&file.admin));
    let (state_dir, log) = (check.state_dir(&file.state), check.log(&file.log));
    let services = check.services(file);
    check.listeners_differ(&proxy, &admin, file);
    check.names_differ(&services);
    check.rules_differ(&services);
    check.services_fit(&services, &proxy);
    if !check.problems.is_empty() {
        return Err(check.problems.into());
    }
    let services = services.into_iter().map(|(_, settings)| Arc::new(settings)).collect();
    Ok((Settings { proxy, admin, state_dir, log, services }, check.warnings))
}

/// A service as written, and as understood.
type Checked<'f> = (&'f Spanned<Service>, ServiceSettings);

/// What was found so far.
struct Check<'s> {
    source: &'s Source<'s>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check<'_> {
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
        file.service.iter().filter_map(|written| Some((written, self.service(written)?))).collect()
    }

    /// Relative paths start where the file lies, not where the process was started.
    fn beside_the_file(&self, path: &str) -> PathBuf {
        self.source.file().parent().map(|directory| directory.join(path)).unwrap_or_else(|| path.into())
    }
}
