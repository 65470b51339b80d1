//! A client's stream: gives back the bytes that were read to tell the protocol, tells the patrol of reads, and closes
//! with care.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{
    ClientConn,
    patrol::Doing,
    stream::{Stream, give_back},
};

/// How long and how much is read after the last answer, so that a reset does not erase it (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// GOAWAY with ENHANCE_YOUR_CALM; the stream id says that any request may have been processed (RFC 9113 section 6.8).
const CALM_DOWN: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// The stream of one client connection.
#[derive(Debug)]
pub(super) struct Downstream {
    /// Always there until drop.
    stream: Option<Stream>,
    /// Bytes read before the protocol was known.
    early: BytesMut,
    /// The last write took a part only: what is written next is in the middle of a frame.
    inside: bool,
    conn: Arc<ClientConn>,
}

impl Downstream {
    pub(super) fn new(stream: Stream, early: BytesMut, conn: Arc<ClientConn>) -> Self {
        Self { stream: Some(stream), early, inside: false, conn }
    }

    fn note_end_of_write(&mut self, written: &Poll<io::Result<usize>>, wanted: usize) {
        self.inside = !matches!(written, Poll::Ready(Ok(bytes)) if *bytes == wanted);
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Cuts a client's upgraded connection: the close that follows is a reset.
pub fn cut_upgraded(upgraded: Upgraded) {
    if let Ok(parts) = upgraded.downcast::<TokioIo<Downstream>>()
        && let Some(stream) = &parts.io.inner().stream
    {
        // A socket that cannot be told so is closed in the ordinary way.
        let _ = stream.set_zero_linger();
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            give_back(&mut self.early, buf);
            self.conn.note_read();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = self.stream()?.poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &result
            && error.kind() == io::ErrorKind::UnexpectedEof
            && self.conn.doing() != Doing::Busy
        {
            // Under TLS, many clients close without saying so first. Between requests nothing is lost by it.
            return Poll::Ready(Ok(()));
        }
        if buf.filled().len() > before {
            self.conn.note_read();
        }
        result
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, buf);
        self.note_end_of_write(&written, buf.len());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, bufs);
        self.note_end_of_write(&written, bufs.iter().map(|buf| buf.len()).sum());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.conn.has_stalled() {
            // A client that takes nothing takes no farewell either, and the kernel would keep what it was sent.
            let _ = stream.set_zero_linger();
        } else if self.conn.is_expelled() {
            // hyper can say GOAWAY with NO_ERROR only, which invites the client to come back at once.
            let farewell = if self.inside { &[] } else { CALM_DOWN };
            spawn_linger(stream, farewell);
        } else if self.conn.lingers() {
            spawn_linger(stream, &[]);
        }
    }
}

/// Without a runtime the proxy is at its end, and the stream is closed as it is.
fn spawn_linger(stream: Stream, farewell: &'static [u8]) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::task::spawn_local(linger(stream, farewell));
    }
}

/// Says "no more from here", then reads the client's rest away until it closes, within bounds.
async fn linger(mut stream: Stream, farewell: &[u8]) {
    let mut rest = LINGER_BYTES;
    let mut buffer = [0; 4096];
    // A time-out, an error and the client's end are all the same here: the stream is dropped.
    let _ = tokio::time::timeout(LINGER, async {
        if stream.write_all(farewell).await.is_err() || stream.shutdown().await.is_err() {
            return;
        }
        while rest > 0 {
            match stream.read(&mut buffer).await {
                Ok(bytes) if bytes > 0 => rest = rest.saturating_sub(bytes),
                Ok(_) | Err(_) => return,
            }
        }
    })
    .await;
}
