//! The other side of TLS: how this program itself calls somebody.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, sign::CertifiedKey};

use super::provider;

/// A configuration that trusts `roots` and shows `identity`, if it is asked for a certificate.
///
/// # Errors
/// rustls does not take the identity, or the provider lacks a protocol version.
pub fn client_config(
    roots: RootCertStore,
    identity: Option<Arc<CertifiedKey>>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
