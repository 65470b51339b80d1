//! Certificates made on the spot, TLS clients, and a relay that lets every other client of the tests speak TLS.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::wait::within;

/// A certificate authority with a directory for what it issues.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) dir: TempDir,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, dir: tempfile::tempdir().unwrap() };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // As careful programs renew: whoever reads sees the old file or the new one.
        let new = self.path("new.tmp");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Issues a certificate; the first name is the common name, too.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Writes a new pair to `NAME.pem` and `NAME.key`.
    pub(crate) fn put(&self, name: &str, names: &[&str]) -> Pair {
        let pair = self.issue(names);
        self.write(&format!("{name}.pem"), &pair.cert);
        self.write(&format!("{name}.key"), &pair.key);
        pair
    }

    /// The keys of a pair for a config file.
    pub(crate) fn keys(&self, name: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("cert = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display())
    }

    /// A `[proxy.tls]` with one pair for `iris.test`, which is issued.
    pub(crate) fn table(&self) -> String {
        self.put("iris", &["iris.test"]);
        format!("[proxy.tls]\n{}", self.keys("iris"))
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Client { roots, alpn: Vec::new(), identity: None, name: "iris.test".to_owned() }
    }
}

/// How to connect.
#[derive(Clone)]
pub(crate) struct Client {
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    identity: Option<Pair>,
    name: String,
}

impl Client {
    pub(crate) fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Asks for this name; for an address, no name is sent.
    pub(crate) fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(crate) fn identity(mut self, pair: Pair) -> Self {
        self.identity = Some(pair);
        self
    }

    /// One configuration keeps the tickets of all its connections.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    /// A handshake on a socket.
    pub(crate) async fn on(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.name.clone()).unwrap();
        within("a handshake", TlsConnector::from(self.config()).connect(name, stream)).await
    }

    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        self.on(stream).await
    }

    /// The certificate that the server shows, in DER.
    pub(crate) async fn shown(&self, addr: SocketAddr) -> io::Result<Vec<u8>> {
        Ok(shown(&self.connect(addr).await?))
    }
}

/// The certificate that the server has shown, in DER.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

pub(crate) fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap().to_vec()
}

/// Takes connections in clear and passes each on over TLS on a connection of its own.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    task: AbortHandle,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr, client: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                plain.set_nodelay(true).ok();
                let client = client.clone();
                tokio::spawn(async move {
                    // Who is not let in sees its connection closed.
                    if let Ok(mut tls) = client.connect(to).await {
                        copy_bidirectional(&mut plain, &mut tls).await.ok();
                    }
                });
            }
        });
        Self { addr, task: task.abort_handle() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
