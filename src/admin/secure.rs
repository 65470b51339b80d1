//! TLS in front of the admin API: the handshake, and whose certificate came with it.

use std::{net::IpAddr, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::actor::{Peer, plain};
use crate::{
    api::{Problem, ProblemKind},
    net::tls::{ServerTls, facts},
};

/// Makes the handshake. `None`: the caller left, took too long, or cannot be spoken with; that has been logged.
pub(super) async fn shake_hands(
    stream: TcpStream,
    ip: IpAddr,
    tls: &ServerTls,
) -> Option<(TlsStream<TcpStream>, Peer)> {
    let handshake = async {
        let mut first = [0];
        if matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase() {
            refuse_plain(stream).await;
            return Err(std::io::Error::other("it is HTTP without TLS"));
        }
        TlsAcceptor::from(tls.config()).accept(stream).await
    };
    let peer = ip.to_canonical();
    match timeout(HANDSHAKE_TIME_MAX, handshake).await {
        Ok(Ok(stream)) => {
            let peer = whose(&stream, ip);
            Some((stream, peer))
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "An admin connection ended in its handshake.");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(%peer, "An admin connection took too long for its handshake.");
            None
        }
    }
}

/// A certificate that is shown has been checked by rustls: an authority of `client_ca` signed it.
fn whose(stream: &TlsStream<TcpStream>, ip: IpAddr) -> Peer {
    let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
        return Peer::Ip(ip);
    };
    let facts = facts(certificate);
    let name = facts.as_ref().and_then(|facts| facts.name()).map(|name| plain(name.as_bytes()));
    Peer::Certificate { name: name.unwrap_or_else(|| "without a name".to_owned()).into(), ip }
}

/// Tells somebody who forgot the `s` of `https`. Who has gone needs no telling.
async fn refuse_plain(mut stream: TcpStream) {
    let problem = Problem::new(ProblemKind::Invalid, "this admin API speaks TLS").hint("call it by https://");
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut request = [0; 4096];
    // Read first: closing on unread bytes is a reset, which would overtake the answer.
    let _ = stream.try_read(&mut request);
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}

const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
