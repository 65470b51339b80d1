//! A new TLS 1.3 connection for each request. Nothing is resumed: each handshake is a full one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::{exchange::exchange, options::Options, origin::connect};

pub async fn run(options: &Options) -> Result<()> {
    let (address, request) = (options.address()?, Arc::new(options.request(true)));
    let ends = Instant::now() + Duration::from_secs_f64(options.number("seconds", 5.0)?);
    let connector = TlsConnector::from(Arc::new(config()?));
    let name = ServerName::try_from("model.test")?;
    let mut clients = JoinSet::new();
    for _ in 0..options.number("connections", 16_usize)? {
        let (request, connector, name) = (request.clone(), connector.clone(), name.clone());
        clients.spawn(async move {
            let (mut done, mut failed, mut buffer) = (0_u64, 0_u64, Vec::with_capacity(1024));
            while Instant::now() < ends {
                let one = async {
                    let mut stream = connector.connect(name.clone(), connect(address).await?).await?;
                    let answer = exchange(&mut stream, &request, &mut buffer).await?;
                    ensure!(answer.status == 200, "answered {}", answer.status);
                    anyhow::Ok(())
                };
                match one.await {
                    Ok(()) => done += 1,
                    Err(_) => failed += 1,
                }
            }
            (done, failed)
        });
    }
    let (mut done, mut failed) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (more, lost) = client?;
        done += more;
        failed += lost;
    }
    println!("{{\"done\":{done},\"failed\":{failed}}}");
    Ok(())
}

fn config() -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The certificate is made for the run, so nobody signed it. That its owner has the key is checked all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
