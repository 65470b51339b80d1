//! TLS towards endpoints: whom to trust, what to show, and why it failed, in words.
//!
//! One [`TlsClient`] for each service. Its files are read when the config file is: at start and at each reload. Sessions
//! are resumed, over all workers.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::config::settings::{KeyPairFiles, UpstreamProtocol, UpstreamTls};

/// A file of `[service.tls]` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {what}", path.display())]
pub struct BadTlsFile {
    /// `ca`, `cert` or `key`.
    pub key: &'static str,
    pub path: PathBuf,
    pub what: String,
    pub hint: &'static str,
}

/// How a service's endpoints are known, and what they are shown.
#[derive(Debug)]
pub struct TlsClient {
    /// `None`: the system's.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<SingleCertAndKey>>,
    server_name: Option<ServerName<'static>>,
    /// Of the settings and of what stood in the files.
    fingerprint: u64,
    /// Made when the first endpoint with TLS is: most services have none, and the system's roots are many.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, holds no PEM of its kind, or certificate and key do not belong together.
    pub fn load(settings: &UpstreamTls) -> Result<Arc<Self>, BadTlsFile> {
        let mut hasher = DefaultHasher::new();
        settings.server_name.hash(&mut hasher);
        let roots = settings.ca.as_deref().map(|path| read_roots(path, &mut hasher)).transpose()?;
        let identity = settings.identity.as_ref().map(|files| read_identity(files, &mut hasher)).transpose()?;
        let server_name = settings.server_name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        Ok(Arc::new(Self {
            roots: roots.map(Arc::new),
            identity: identity.map(|key| Arc::new(SingleCertAndKey::from(key))),
            server_name,
            fingerprint: hasher.finish(),
            config: OnceLock::new(),
        }))
    }

    /// Trusts the system's roots and shows nothing.
    pub fn plain() -> Arc<Self> {
        let fingerprint = DefaultHasher::new().finish();
        Arc::new(Self { roots: None, identity: None, server_name: None, fingerprint, config: OnceLock::new() })
    }

    /// True if both know and show the same: connections of one are as good as the other's.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// How to speak to one host. Blocks on the disk for the system's roots, once in the life of the process.
    pub(super) fn connector(&self, host: &str, protocol: UpstreamProtocol) -> Connector {
        let mut config = ClientConfig::clone(self.config.get_or_init(|| Arc::new(self.build())));
        let asks_for_http2 = protocol == UpstreamProtocol::H2c;
        config.alpn_protocols = vec![if asks_for_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok());
        Connector { connector: TlsConnector::from(Arc::new(config)), name, asks_for_http2 }
    }

    fn build(&self) -> ClientConfig {
        let roots = self.roots.clone().unwrap_or_else(system_roots);
        // Both lists stand in the provider for the default versions, so that this cannot fail; see the test.
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = match builder {
            Ok(builder) => builder,
            Err(error) => unreachable!("the TLS provider has no cipher suite for TLS 1.2 and 1.3: {error}"),
        };
        let builder = builder.with_root_certificates(roots);
        match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.clone() as Arc<dyn ResolvesClientCert>),
            None => builder.with_no_client_auth(),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "Some of the system's root certificates cannot be read.");
        }
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(found.certs);
        if good == 0 {
            tracing::error!(
                "The system has no root certificates: no https:// or grpcs:// endpoint can be trusted. Install them \
                 (ca-certificates), or name a file in service.tls.ca."
            );
        }
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

fn read_roots(path: &Path, hasher: &mut DefaultHasher) -> Result<RootCertStore, BadTlsFile> {
    let bad = |what: String| BadTlsFile {
        key: "ca",
        path: path.to_owned(),
        what,
        hint: "name a PEM file with the certificates that sign the endpoints'",
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path, hasher).map_err(bad)? {
        roots.add(certificate).map_err(|error| bad(format!("holds a certificate that cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn read_identity(files: &KeyPairFiles, hasher: &mut DefaultHasher) -> Result<CertifiedKey, BadTlsFile> {
    let bad = |key: &'static str, path: &Path, what: String, hint: &'static str| BadTlsFile {
        key,
        path: path.to_owned(),
        what,
        hint,
    };
    let chain = read_certificates(&files.cert, hasher)
        .map_err(|what| bad("cert", &files.cert, what, "name a PEM file: your certificate, then its intermediates"))?;
    let key_hint = "name a PEM file with the certificate's private key, without a password";
    let bad_key = |what: String| bad("key", &files.key, what, key_hint);
    let bytes = read(&files.key, hasher).map_err(bad_key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| bad_key(format!("holds no private key in PEM: {}", words(&error))))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => "does not belong to the certificate".to_owned(),
            other => format!("cannot be used: {other}"),
        };
        bad_key(what)
    })
}

fn read_certificates(path: &Path, hasher: &mut DefaultHasher) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path, hasher)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(found) if found.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is not PEM: {}", words(&error))),
    }
}

fn words(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "there is none".to_owned(),
        other => other.to_string(),
    }
}

fn read(path: &Path, hasher: &mut DefaultHasher) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    bytes.hash(hasher);
    Ok(bytes)
}

/// TLS to one address.
pub(super) struct Connector {
    connector: TlsConnector,
    /// `None` for a host that TLS has no way to name, such as one with an underscore.
    name: Option<ServerName<'static>>,
    asks_for_http2: bool,
}

impl Connector {
    /// Shakes hands. The error is in words.
    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let Some(name) = self.name.clone() else {
            return Err("a certificate cannot carry this host's name; set service.tls.server_name".to_owned());
        };
        let stream = self.connector.connect(name, stream).await.map_err(|error| why(&error))?;
        if self.asks_for_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the server does not offer HTTP/2 by ALPN; write https:// for HTTP/1.1".to_owned());
        }
        Ok(stream)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The TLS failure inside an I/O error, if that is what it was.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why a connection failed after the handshake, if TLS was the reason: a server that does not take the client's
/// certificate says so only then (RFC 8446 section 4.4.2.4).
pub(super) fn tls_failure(error: &hyper::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let io = cause.downcast_ref::<io::Error>();
        let io = io.or_else(|| cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io));
        if let Some(error) = io.and_then(tls_error) {
            return Some(in_words(error));
        }
        source = cause.source();
    }
    None
}

/// Why a handshake failed, in words that an operator can act upon.
fn why(error: &io::Error) -> String {
    match tls_error(error) {
        Some(error) => in_words(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the TLS handshake; does it speak TLS on this port?".to_owned()
        }
        None => format!("the connection failed during the TLS handshake: {error}"),
    }
}

fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the server's certificate has expired ({error})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the server's certificate is not valid yet ({error})")
            }
            CertificateError::UnknownIssuer => {
                "the server's certificate is signed by nobody in service.tls.ca, or in the system's roots if there is \
                 none (unknown issuer)"
                    .to_owned()
            }
            CertificateError::BadSignature => {
                "the server's certificate names a known issuer and is not signed by it; was the authority made anew? (bad \
                 signature)"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the server's certificate is for another name; see service.tls.server_name ({error})")
            }
            _ => format!("the server's certificate is not acceptable ({error})"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a client certificate; see service.tls.cert".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server does not offer the HTTP version of this endpoint by ALPN".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the server refused the TLS handshake ({alert:?})"),
        rustls::Error::InvalidMessage(_) => {
            "what the server sent is not TLS; does it speak it on this port?".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_settings_can_be_built() {
        let client = TlsClient::plain();
        let connector = client.connector("model.example.org", UpstreamProtocol::H2c);
        assert!(connector.name.is_some() && connector.asks_for_http2);
        assert!(client.connector("::1", UpstreamProtocol::Http1).name.is_some(), "an address is a name, too");
        let loaded = TlsClient::load(&UpstreamTls::default()).unwrap();
        assert!(loaded.is_same(&TlsClient::load(&UpstreamTls::default()).unwrap()));
    }

    #[test]
    fn files_are_refused_with_what_is_wrong_and_told_apart_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let pair = rcgen::generate_simple_self_signed(vec!["model.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["model.test".to_owned()]).unwrap();
        fs::write(path("cert.pem"), pair.cert.pem()).unwrap();
        fs::write(path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        fs::write(path("other.key"), other.signing_key.serialize_pem()).unwrap();
        fs::write(path("empty.pem"), "nothing\n").unwrap();
        let with_ca = |name: &str| UpstreamTls { ca: Some(path(name)), ..UpstreamTls::default() };
        let with_key = |cert: &str, key: &str| UpstreamTls {
            identity: Some(KeyPairFiles { cert: path(cert), key: path(key) }),
            ..UpstreamTls::default()
        };
        for (settings, key, text) in [
            (with_ca("none.pem"), "ca", "cannot be read"),
            (with_ca("empty.pem"), "ca", "holds no certificate"),
            (with_key("empty.pem", "key.pem"), "cert", "holds no certificate"),
            (with_key("cert.pem", "cert.pem"), "key", "holds no private key"),
            (with_key("cert.pem", "other.key"), "key", "does not belong"),
        ] {
            let bad = TlsClient::load(&settings).unwrap_err();
            assert_eq!(bad.key, key, "{bad}");
            assert!(bad.to_string().contains(text), "{bad}");
        }
        let before = TlsClient::load(&with_ca("cert.pem")).unwrap();
        assert!(before.is_same(&TlsClient::load(&with_ca("cert.pem")).unwrap()));
        assert!(TlsClient::load(&with_key("cert.pem", "key.pem")).is_ok());
        fs::write(path("cert.pem"), other.cert.pem()).unwrap();
        assert!(!before.is_same(&TlsClient::load(&with_ca("cert.pem")).unwrap()));
    }
}
