//! Client certificates at the proxy's port.

use super::set;
use crate::support::{
    client::{Conn, get},
    tls::{Authority, Client, Relay},
};

/// The status of a request over TLS; `None` if there was no answer.
async fn status(addr: std::net::SocketAddr, client: Client) -> Option<u16> {
    let relay = Relay::start(addr, client).await;
    let mut conn = Conn::open(relay.addr).await;
    conn.wire.send(&get("/")).await.ok()?;
    conn.try_answer("GET").await.ok().map(|answer| answer.status)
}

/// Fails when: in `net::tls::server`, somebody without a certificate of `client_ca` gets through where one is required,
/// or a good one does not; or `"optional"` asks for one, or lets a forged one pass.
#[tokio::test]
async fn client_certificates_are_asked_for() {
    let operators = Authority::new("operators");
    let strangers = Authority::new("strangers");
    for (word, without) in [("required", None), ("optional", Some(200))] {
        let ca = operators.path("ca.pem");
        let keys = format!("client_ca = \"{}\"\nclient_auth = \"{word}\"", ca.display());
        let set = set(|_, config| config.tables(&keys)).await;
        let addr = set.proxy.addr;
        assert_eq!(status(addr, set.client()).await, without, "{word}, no certificate");
        let good = set.client().identity(operators.issue(&["alice"]));
        assert_eq!(status(addr, good).await, Some(200), "{word}, a good one");
        let forged = set.client().identity(strangers.issue(&["alice"]));
        assert_eq!(status(addr, forged).await, None, "{word}, a stranger's");
        set.until_failures("tls_handshake", 1.0).await;
    }
}
