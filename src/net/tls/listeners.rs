//! The TLS of all listeners of the process.

use std::path::Path;

use super::{Alpn, Prepared, ServerTls, TlsProblem};
use crate::{
    config::{
        Loaded, Problems,
        settings::{Settings, TlsSettings},
    },
    telemetry::{GaugeSample, names},
};

/// The listeners that speak TLS since the start; `None` speaks in clear.
#[derive(Clone, Debug, Default)]
pub struct TlsListeners {
    pub proxy: Option<ServerTls>,
    pub admin: Option<ServerTls>,
}

/// Files of all listeners, read and found right.
#[derive(Clone, Debug, Default)]
pub struct PreparedListeners {
    proxy: Option<(TlsSettings, Prepared)>,
    admin: Option<(TlsSettings, Prepared)>,
}

const PROXY: (&str, Alpn) = ("proxy.tls", Alpn::Both);
const ADMIN: (&str, Alpn) = ("admin.tls", Alpn::Http1);

impl TlsListeners {
    /// The listeners of a start.
    pub fn new(prepared: PreparedListeners) -> Self {
        let listener = |(table, alpn): (&'static str, Alpn), prepared: Option<(TlsSettings, Prepared)>| {
            prepared.map(|(settings, prepared)| ServerTls::new(table, alpn, settings, prepared))
        };
        Self { proxy: listener(PROXY, prepared.proxy), admin: listener(ADMIN, prepared.admin) }
    }

    /// Reads every file that a config file names; changes nothing.
    ///
    /// # Errors
    /// Every file that cannot be used, with the place in the config file that names it.
    pub fn load(&self, path: &Path, loaded: &Loaded) -> Result<PreparedListeners, Problems> {
        self.prepare(&loaded.settings).map_err(|problems| {
            let placed = |problem: &TlsProblem| loaded.problem(path, &problem.key, problem.error.to_string(), None);
            problems.iter().map(placed).collect::<Vec<_>>().into()
        })
    }

    /// Reads every file that the settings name; changes nothing. A listener that does not speak TLS yet is checked,
    /// too. Blocks on the disk.
    ///
    /// # Errors
    /// Every file that cannot be used.
    fn prepare(&self, settings: &Settings) -> Result<PreparedListeners, Vec<TlsProblem>> {
        let mut problems = Vec::new();
        let mut read = |(table, alpn): (&'static str, Alpn), running: &Option<ServerTls>, tls: &Option<TlsSettings>| {
            let tls = tls.as_ref()?;
            let prepared = match running {
                Some(running) => running.prepare(tls),
                None => Prepared::load(table, alpn, tls),
            };
            prepared.map_err(|found| problems.extend(found)).ok().map(|prepared| (tls.clone(), prepared))
        };
        let prepared = PreparedListeners {
            proxy: read(PROXY, &self.proxy, &settings.proxy.tls),
            admin: read(ADMIN, &self.admin, &settings.admin.tls),
        };
        if problems.is_empty() { Ok(prepared) } else { Err(problems) }
    }

    /// Puts it in force where TLS is spoken already, for connections that begin from now on.
    pub fn put(&self, prepared: PreparedListeners) {
        let both = [(&self.proxy, prepared.proxy), (&self.admin, prepared.admin)];
        for (running, prepared) in both {
            if let (Some(running), Some((settings, prepared))) = (running, prepared) {
                running.put(settings, prepared);
            }
        }
    }

    /// Looks at the files again; see [`ServerTls::refresh`]. Blocks on the disk.
    pub fn refresh(&self) {
        [&self.proxy, &self.admin].into_iter().flatten().for_each(ServerTls::refresh);
    }

    pub fn is_empty(&self) -> bool {
        self.proxy.is_none() && self.admin.is_none()
    }

    /// Whether the files on disk are in force, and when certificates expire.
    pub fn gauges(&self) -> Vec<GaugeSample> {
        let mut samples = Vec::new();
        for (listener, tls) in [("proxy", &self.proxy), ("admin", &self.admin)] {
            let Some(tls) = tls else { continue };
            let own = ("listener", listener.to_owned());
            let value = f64::from(u8::from(tls.trouble().is_none()));
            samples.push(GaugeSample { metric: names::CERTIFICATES_OK, labels: vec![own.clone()], value });
            for certificate in tls.certificates() {
                let expires = certificate.facts.not_after.duration_since(std::time::UNIX_EPOCH);
                samples.push(GaugeSample {
                    metric: names::CERTIFICATE_EXPIRES,
                    labels: vec![own.clone(), ("file", certificate.file.display().to_string())],
                    value: expires.map_or(0.0, |since| since.as_secs() as f64),
                });
            }
        }
        samples
    }
}

impl PreparedListeners {
    /// What can be used but hardly is meant.
    pub fn warnings(&self) -> Vec<String> {
        let both = [(PROXY.0, &self.proxy), (ADMIN.0, &self.admin)];
        let each = |(table, prepared): (&str, &Option<(TlsSettings, Prepared)>)| {
            prepared.as_ref().map(|(_, prepared)| prepared.warnings(table)).unwrap_or_default()
        };
        both.into_iter().flat_map(each).collect()
    }
}
