//! A door in front of a fake model server that takes TLS off the connection, and one that is a unix socket.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::tls::{Authority, Pair};

/// What a door saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections, before their handshake.
    pub(crate) accepted: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) resumed: AtomicU64,
    /// The name asked for and the protocol agreed upon, for each handshake.
    pub(crate) agreed: Mutex<Vec<(Option<String>, Option<String>)>>,
}

/// A listener that takes TLS off and passes the rest on; dropping it closes it.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    accept: JoinHandle<()>,
}

impl Door {
    /// A door with a certificate; with `clients`, nobody gets in without one that this authority has signed.
    pub(crate) async fn start(to: SocketAddr, issued: &Pair, alpn: &[&str], clients: Option<&Authority>) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap()).unwrap();
                let provider = Arc::new(aws_lc_rs::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let accept = tokio::spawn(accept_all(listener, TlsAcceptor::from(Arc::new(config)), to, seen.clone()));
        Self { addr, seen, accept }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr, seen: Arc<Seen>) {
    let mut inside = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.accepted.fetch_add(1, SeqCst);
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        inside.spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let session = stream.get_ref().1;
            let count =
                if session.handshake_kind() == Some(HandshakeKind::Resumed) { &seen.resumed } else { &seen.full };
            count.fetch_add(1, SeqCst);
            let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            seen.agreed.lock().unwrap().push((session.server_name().map(str::to_owned), protocol));
            let Ok(mut origin) = TcpStream::connect(to).await else { return };
            origin.set_nodelay(true).ok();
            copy_bidirectional(&mut stream, &mut origin).await.ok();
        });
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// A unix socket that passes everything on to an origin; ends with the test's runtime.
pub(crate) fn unix_door(path: &Path, to: SocketAddr) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut origin) = TcpStream::connect(to).await else { return };
                copy_bidirectional(&mut stream, &mut origin).await.ok();
            });
        }
    });
}
