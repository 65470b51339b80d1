//! The TLS of one listener: what its files say, and the configuration in force.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    TlsFileError,
    certificates::Certificates,
    facts::{Facts, facts},
    load, provider,
};
use crate::config::settings::{ClientAuth, KeyPairFiles, TlsSettings};

/// The protocols that a listener offers (RFC 7301).
#[derive(Clone, Copy, Debug)]
pub enum Alpn {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

/// The TLS of one listener. Cloning shares it.
#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    /// The table of the config file: `proxy.tls`.
    table: &'static str,
    alpn: Alpn,
    state: Mutex<State>,
}

struct State {
    settings: TlsSettings,
    prepared: Prepared,
    /// Why the files on disk are not in force.
    trouble: Option<String>,
    /// Of the content that was looked at last, whether or not it was taken.
    seen: u64,
}

/// Files that were read and found right.
#[derive(Clone)]
pub struct Prepared {
    config: Arc<ServerConfig>,
    certificates: Vec<Certificate>,
    tickets: Tickets,
    /// Of all files.
    content: u64,
}

/// A certificate that serves.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub file: PathBuf,
    pub facts: Facts,
}

/// What makes session tickets. Kept over renewals, so that clients resume; made anew with who signs the clients'
/// certificates, because a resumed session is not checked again.
#[derive(Clone)]
struct Tickets {
    maker: Arc<dyn ProducesTickets>,
    /// Of the client CA's file.
    clients: Option<u64>,
}

/// What is wrong, and where the file says so.
#[derive(Debug)]
pub struct TlsProblem {
    /// The key of the config file, such as `proxy.tls.more[0].key`.
    pub key: String,
    pub error: TlsFileError,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.error)
    }
}

impl ServerTls {
    /// A listener's TLS, of files that are right.
    pub fn new(table: &'static str, alpn: Alpn, settings: TlsSettings, prepared: Prepared) -> Self {
        let seen = prepared.content;
        let state = State { settings, prepared, trouble: None, seen };
        Self { inner: Arc::new(Inner { table, alpn, state: Mutex::new(state) }) }
    }

    /// What a connection that begins now is spoken to with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.state().prepared.config.clone()
    }

    /// The certificates in force.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.state().prepared.certificates.clone()
    }

    /// Why the files on disk are not in force; `None` if they are.
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Reads the files that these settings name; changes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn prepare(&self, settings: &TlsSettings) -> Result<Prepared, Vec<TlsProblem>> {
        let tickets = self.state().prepared.tickets.clone();
        Prepared::read(self.inner.table, self.inner.alpn, settings, Some(tickets))
    }

    /// Puts it in force for connections that begin from now on.
    pub fn put(&self, settings: TlsSettings, prepared: Prepared) {
        let mut state = self.state();
        let is_new = state.prepared.content != prepared.content;
        let seen = prepared.content;
        *state = State { settings, prepared, trouble: None, seen };
        if is_new {
            tracing::info!(listener = self.inner.table, "Renewed certificates are in force for new connections.");
        }
    }

    /// Looks at the files again and takes what changed; a content that cannot be used is told once and leaves the old
    /// certificates in force. Blocks on the disk.
    pub fn refresh(&self) {
        let (settings, seen) = {
            let state = self.state();
            (state.settings.clone(), state.seen)
        };
        let content = content(&settings);
        if content == seen {
            return;
        }
        match self.prepare(&settings) {
            Ok(prepared) => {
                for warning in prepared.warnings(self.inner.table) {
                    tracing::warn!("{warning}");
                }
                self.put(settings, prepared);
            }
            Err(problems) => self.refuse(content, &problems),
        }
    }

    fn refuse(&self, content: u64, problems: &[TlsProblem]) {
        let words = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::error!("The files on disk are not used, the old certificates serve on: {words}");
        let mut state = self.state();
        state.seen = content;
        state.trouble = Some(words);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    /// Reads all files. `tickets` are those of a listener that runs already. Blocks on the disk.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn load(table: &'static str, alpn: Alpn, settings: &TlsSettings) -> Result<Self, Vec<TlsProblem>> {
        Self::read(table, alpn, settings, None)
    }

    fn read(
        table: &str,
        alpn: Alpn,
        settings: &TlsSettings,
        tickets: Option<Tickets>,
    ) -> Result<Self, Vec<TlsProblem>> {
        // Taken first: what changes while the files are read is then seen as a change later.
        let content = content(settings);
        let mut problems = Vec::new();
        let mut certificates = Vec::new();
        let mut resolver = Certificates::default();
        for (index, files) in settings.certificates.iter().enumerate() {
            match read_pair(files) {
                Ok((pair, facts)) => {
                    resolver.add(pair, &facts);
                    certificates.push(Certificate { file: files.cert.clone(), facts });
                }
                Err(error) => {
                    let word = if error.is_about_the_key(files) { "key" } else { "cert" };
                    problems.push(TlsProblem { key: pair_key(table, index, word), error });
                }
            }
        }
        let verifier = settings.client_auth.as_ref().map(|auth| verifier(auth));
        let verifier = verifier.transpose().map_err(|error| TlsProblem { key: format!("{table}.client_ca"), error });
        let built = verifier.and_then(|verifier| {
            let tickets = Tickets::of(settings, tickets);
            let unusable = |error| TlsProblem { key: pair_key(table, 0, "cert"), error: unusable(settings, error) };
            let tickets = tickets.map_err(unusable)?;
            let config = build(alpn, resolver, verifier, tickets.maker.clone()).map_err(unusable)?;
            Ok((config, tickets))
        });
        match built {
            Ok((config, tickets)) if problems.is_empty() => {
                Ok(Self { config: Arc::new(config), certificates, tickets, content })
            }
            built => {
                problems.extend(built.err());
                Err(problems)
            }
        }
    }

    /// What can be used but hardly is meant: certificates past their time, and ones that nobody can ask for.
    pub fn warnings(&self, table: &str) -> Vec<String> {
        let now = SystemTime::now();
        let expired = self.certificates.iter().filter(|certificate| certificate.facts.not_after <= now);
        let words = |certificate: &Certificate| {
            format!(
                "{table}: the certificate in {} expired at {}; clients will refuse it, renew it",
                certificate.file.display(),
                humantime::format_rfc3339_seconds(certificate.facts.not_after)
            )
        };
        let nameless = self.certificates.iter().skip(1).filter(|certificate| certificate.facts.dns_names.is_empty());
        let never_shown = |certificate: &Certificate| {
            let file = certificate.file.display();
            format!(
                "{table}: the certificate in {file} has no host name in its subject alternative names; no client is shown it"
            )
        };
        expired.map(words).chain(nameless.map(never_shown)).collect()
    }
}

fn pair_key(table: &str, index: usize, word: &str) -> String {
    match index.checked_sub(1) {
        None => format!("{table}.{word}"),
        Some(more) => format!("{table}.more[{more}].{word}"),
    }
}

fn read_pair(files: &KeyPairFiles) -> Result<(Arc<rustls::sign::CertifiedKey>, Facts), TlsFileError> {
    let pair = load::key_pair(files)?;
    let facts = pair.cert.first().and_then(|first| facts(first));
    let facts = facts.ok_or_else(|| TlsFileError::NoCertificate { path: files.cert.clone() })?;
    Ok((pair, facts))
}

fn verifier(auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let roots = Arc::new(load::roots(&auth.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| TlsFileError::NoRoot { path: auth.ca.clone(), cause: error.to_string() })
}

fn unusable(settings: &TlsSettings, cause: rustls::Error) -> TlsFileError {
    let first = settings.certificates.first();
    let (cert, key) = first.map(|files| (files.cert.clone(), files.key.clone())).unwrap_or_default();
    TlsFileError::Unusable { cert, key, cause }
}

fn build(
    alpn: Alpn,
    resolver: Certificates,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.ticketer = tickets;
    let offered: &[&[u8]] = match alpn {
        Alpn::Both => &[b"h2", b"http/1.1"],
        Alpn::Http1 => &[b"http/1.1"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

impl Tickets {
    /// Those of before, unless other clients are let in now.
    fn of(settings: &TlsSettings, before: Option<Self>) -> Result<Self, rustls::Error> {
        let clients = settings.client_auth.as_ref().map(|auth| {
            let mut hasher = DefaultHasher::new();
            auth.required.hash(&mut hasher);
            load::read(&auth.ca).unwrap_or_default().hash(&mut hasher);
            hasher.finish()
        });
        match before {
            Some(before) if before.clients == clients => Ok(before),
            _ => Ok(Self { maker: Ticketer::new()?, clients }),
        }
    }
}

/// Tells one content of all files from another. What cannot be read is a content, too.
fn content(settings: &TlsSettings) -> u64 {
    let mut hasher = DefaultHasher::new();
    let pairs = settings.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
    for path in pairs.chain(settings.client_auth.iter().map(|auth| &auth.ca)) {
        match load::read(path) {
            Ok(bytes) => bytes.hash(&mut hasher),
            Err(error) => error.to_string().hash(&mut hasher),
        }
    }
    hasher.finish()
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("table", &self.inner.table).finish_non_exhaustive()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}
