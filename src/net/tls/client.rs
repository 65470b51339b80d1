//! The other side of TLS: how this program itself calls somebody.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, RootCertStore,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::provider;

/// A configuration that trusts `roots` and shows `identity`, if it is asked for a certificate.
pub fn client_config(roots: Arc<RootCertStore>, identity: Option<Arc<CertifiedKey>>, alpn: &[&[u8]]) -> ClientConfig {
    let builder = match ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        // Both lists stand in the provider, so that this cannot be; every test with TLS would see it.
        Err(error) => unreachable!("the TLS provider has no cipher suite for TLS 1.2 and 1.3: {error}"),
    };
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// Whom the system trusts. Where that cannot be read nobody is, and the log and each handshake say so. Blocks on the
/// disk, once in the life of the process.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| Arc::new(read_system_roots())).clone()
}

fn read_system_roots() -> RootCertStore {
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
    roots
}
