//! Just enough WebSocket: a handshake and masked frames, which the origin echoes byte for byte.

use std::{io, net::SocketAddr};

use super::{
    client::{Conn, Head},
    wait::within,
};

/// An open WebSocket.
pub(crate) struct WebSocket {
    pub(crate) conn: Conn,
    pub(crate) head: Head,
}

/// The handshake's bytes; the key and its answer are those of RFC 6455.
pub(crate) fn handshake(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: iris.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// A masked text frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mask = [7, 11, 13, 17];
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    bytes.extend_from_slice(&mask);
    bytes.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl WebSocket {
    pub(crate) async fn try_open(addr: SocketAddr) -> io::Result<Self> {
        let mut conn = Conn::open(addr).await;
        conn.wire.send(&handshake("/chat?do=upgrade")).await?;
        let head = conn.try_head("GET").await?;
        if head.status != 101 {
            return Err(io::Error::other(format!("handshake answered {}", head.status)));
        }
        Ok(Self { conn, head })
    }

    pub(crate) async fn open(addr: SocketAddr) -> Self {
        within("a handshake", Self::try_open(addr)).await.unwrap_or_else(|bad| panic!("handshake: {bad}"))
    }

    /// Sends a frame and reads its echo.
    pub(crate) async fn try_echo(&mut self, text: &str) -> io::Result<()> {
        let sent = frame(text);
        self.conn.wire.send(&sent).await?;
        let back = self.conn.wire.exactly(sent.len(), "a tunnel").await?;
        if back == sent { Ok(()) } else { Err(io::Error::other("another frame came back")) }
    }

    pub(crate) async fn echo(&mut self, text: &str) {
        within("an echo", self.try_echo(text)).await.unwrap_or_else(|bad| panic!("echo {text}: {bad}"));
    }
}
