//! Why TLS towards an endpoint failed, in words that an operator can act upon.

use std::io;

use rustls::{AlertDescription, CertificateError};

/// The TLS failure inside an I/O error, if that is what it was.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why a connection failed after the handshake, if TLS was the reason: a server that does not take the client's
/// certificate says so only then (RFC 8446 section 4.4.2.4).
pub(in crate::upstream) fn tls_failure(error: &hyper::Error) -> Option<String> {
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
pub(super) fn why(error: &io::Error) -> String {
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
