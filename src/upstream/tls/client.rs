//! How a service's endpoints are known, and what they are shown.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, sign::CertifiedKey};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::words::why;
use crate::{
    config::settings::{UpstreamProtocol, UpstreamTls},
    net::tls::{TlsFileError, TlsProblem, client_config, key_pair, roots, system_roots},
};

/// How a service's endpoints are known, and what they are shown.
#[derive(Debug, Default)]
pub struct TlsClient {
    /// `None`: the system's.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
    server_name: Option<ServerName<'static>>,
    /// Made when the first endpoint with TLS is: most services have none, and the system's roots are many.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Reads the files. Blocks on the disk. `table` is where the config file names them, such as `service[0].tls`.
    ///
    /// # Errors
    /// A file cannot be read, holds no PEM of its kind, or certificate and key do not belong together.
    pub fn load(table: &str, settings: &UpstreamTls) -> Result<Arc<Self>, TlsProblem> {
        let problem = |key: &str, error: TlsFileError| TlsProblem { key: format!("{table}.{key}"), error };
        let roots = settings.ca.as_deref().map(roots).transpose().map_err(|error| problem("ca", error))?;
        let identity = settings.identity.as_ref().map(|files| {
            key_pair(files).map_err(|error| problem(if error.is_about_the_key(files) { "key" } else { "cert" }, error))
        });
        let server_name = settings.server_name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        Ok(Arc::new(Self {
            roots: roots.map(Arc::new),
            identity: identity.transpose()?,
            server_name,
            config: OnceLock::new(),
        }))
    }

    /// Trusts the system's roots and shows nothing.
    pub fn plain() -> Arc<Self> {
        Arc::default()
    }

    /// True if both know and show the same: connections of one are as good as the other's. A certificate says which key
    /// belongs to it.
    pub fn is_same(&self, other: &Self) -> bool {
        let roots = |client: &Self, other: &Self| {
            client.roots.as_ref().map(|roots| &roots.roots) == other.roots.as_ref().map(|roots| &roots.roots)
        };
        let shown = |client: &Self, other: &Self| {
            client.identity.as_ref().map(|pair| &pair.cert) == other.identity.as_ref().map(|pair| &pair.cert)
        };
        self.server_name == other.server_name && roots(self, other) && shown(self, other)
    }

    /// How to speak to one host. Blocks on the disk for the system's roots, once in the life of the process.
    pub(in crate::upstream) fn connector(&self, host: &str, protocol: UpstreamProtocol) -> Connector {
        let mut config = ClientConfig::clone(self.config.get_or_init(|| Arc::new(self.build())));
        let asks_for_http2 = protocol == UpstreamProtocol::H2c;
        config.alpn_protocols = vec![if asks_for_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok());
        Connector { connector: TlsConnector::from(Arc::new(config)), name, asks_for_http2 }
    }

    fn build(&self) -> ClientConfig {
        client_config(self.roots.clone().unwrap_or_else(system_roots), self.identity.clone(), &[])
    }
}

/// TLS to one address.
pub(in crate::upstream) struct Connector {
    connector: TlsConnector,
    /// `None` for a host that TLS has no way to name, such as one with an underscore.
    name: Option<ServerName<'static>>,
    asks_for_http2: bool,
}

impl Connector {
    /// Shakes hands. The error is in words.
    pub(in crate::upstream) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::settings::KeyPairFiles;

    #[test]
    fn a_client_without_settings_can_be_built() {
        let client = TlsClient::plain();
        let connector = client.connector("model.example.org", UpstreamProtocol::H2c);
        assert!(connector.name.is_some() && connector.asks_for_http2);
        assert!(client.connector("::1", UpstreamProtocol::Http1).name.is_some(), "an address is a name, too");
        let loaded = TlsClient::load("service[0].tls", &UpstreamTls::default()).unwrap();
        assert!(loaded.is_same(&TlsClient::load("service[0].tls", &UpstreamTls::default()).unwrap()));
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
            (with_ca("none.pem"), "ca", "cannot read"),
            (with_ca("empty.pem"), "ca", "has no certificate in it"),
            (with_key("empty.pem", "key.pem"), "cert", "has no certificate in it"),
            (with_key("cert.pem", "cert.pem"), "key", "has no private key in it"),
            (with_key("cert.pem", "other.key"), "key", "does not belong"),
        ] {
            let bad = TlsClient::load("service[0].tls", &settings).unwrap_err();
            assert_eq!(bad.key, format!("service[0].tls.{key}"), "{bad}");
            assert!(bad.to_string().contains(text), "{bad}");
        }
        let before = TlsClient::load("service[0].tls", &with_ca("cert.pem")).unwrap();
        assert!(before.is_same(&TlsClient::load("service[0].tls", &with_ca("cert.pem")).unwrap()));
        assert!(TlsClient::load("service[0].tls", &with_key("cert.pem", "key.pem")).is_ok());
        fs::write(path("cert.pem"), other.cert.pem()).unwrap();
        assert!(!before.is_same(&TlsClient::load("service[0].tls", &with_ca("cert.pem")).unwrap()));
    }
}
