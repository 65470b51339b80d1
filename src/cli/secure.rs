//! TLS to the admin API: whom this command trusts, and what it shows of itself.

use std::{error::Error, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{address::AdminAddress, args::ClientOptions, error::CliError};
use crate::{
    config::KeyPairFiles,
    net::tls::{client_config, key_pair, roots, system_roots},
};

/// How to speak TLS with one admin API.
pub(super) struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Secure {
    /// Reads the files that the options name; connects to nothing yet.
    pub(super) fn new(options: &ClientOptions, authority: &str) -> Result<Self, CliError> {
        let unusable = |error: &dyn Error| CliError::TlsFile(error.to_string());
        let roots = match &options.ca {
            Some(path) => Arc::new(roots(path).map_err(|error| unusable(&error))?),
            None => system_roots(),
        };
        let identity =
            identity(options)?.map(|files| key_pair(&files)).transpose().map_err(|error| unusable(&error))?;
        let config = client_config(roots, identity, &[b"http/1.1"]);
        let parsed = authority.parse::<http::uri::Authority>().ok();
        let host = parsed.as_ref().map_or(authority, |parsed| parsed.host());
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let name = name.map_err(|_not_a_name| CliError::Usage(format!("{host:?} is not a host name or address")))?;
        Ok(Self { config: Arc::new(config), name })
    }

    pub(super) async fn shake_hands(
        &self,
        admin: &AdminAddress,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, CliError> {
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(self.name.clone(), stream).await.map_err(|error| refused(admin, &error))
    }
}

/// Both halves or neither.
fn identity(options: &ClientOptions) -> Result<Option<KeyPairFiles>, CliError> {
    match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Ok(Some(KeyPairFiles { cert: cert.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(CliError::Usage("--cert needs --key, the file with its private key".to_owned())),
        (None, Some(_)) => Err(CliError::Usage("--key needs --cert, the file with its certificate".to_owned())),
    }
}

/// Why there was no handshake, in words that say what to do.
fn refused(admin: &AdminAddress, error: &io::Error) -> CliError {
    let cause = match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody whom this machine trusts has signed its certificate; if your own authority did, name its file with \
             --ca or VERDIGRIS_CA"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(
            wrong @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        )) => format!("{wrong}; call it by a name that stands in its certificate"),
        Some(rustls::Error::InvalidCertificate(
            late @ (CertificateError::Expired | CertificateError::ExpiredContext { .. }),
        )) => format!("{late}; renew the files that admin.tls names"),
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS; try http:// instead".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => return asks_for_certificate(admin),
        _ => error.to_string(),
    };
    CliError::Untrusted { admin: admin.clone(), cause }
}

/// The problem behind an exchange that broke off, if it is that the admin API wants to know who calls: with TLS 1.3
/// that comes only after the handshake.
pub(super) fn unknown_caller(admin: &AdminAddress, error: &(dyn Error + 'static)) -> Option<CliError> {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => Some(asks_for_certificate(admin)),
        _ => None,
    }
}

fn asks_for_certificate(admin: &AdminAddress) -> CliError {
    CliError::CertificateAsked { admin: admin.clone() }
}

fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown, DecryptError, HandshakeFailure,
        UnknownCA,
    };
    [
        BadCertificate,
        CertificateExpired,
        CertificateRequired,
        CertificateUnknown,
        DecryptError,
        HandshakeFailure,
        UnknownCA,
    ]
    .contains(&alert)
}

/// The error of rustls below the others.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("name", &self.name).finish_non_exhaustive()
    }
}
