//! A client's bytes: the socket, in clear or under TLS. An enum, so that the clear path pays one comparison for it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{ClientConn, flat::poll_write_pieces, tcp::Tcp};

/// What HTTP is spoken on.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    /// Boxed, because its state is a kilobyte that clients in clear do not need.
    Tls(Box<TlsStream<Socket>>),
}

/// The socket itself. It tells the patrol whether the client takes bytes, which under TLS only it can know.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Tcp,
    /// Bytes that were read before TLS began.
    early: BytesMut,
    conn: Arc<ClientConn>,
}

impl Socket {
    pub(super) fn new(stream: Tcp, early: BytesMut, conn: Arc<ClientConn>) -> Self {
        Self { stream, early, conn }
    }

    /// A write that had to wait is tried past the runtime's knowledge if the patrol asks for it.
    fn note_write(&self, mut written: Poll<io::Result<usize>>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if written.is_pending()
            && self.conn.takes_a_try()
            && let Ok(bytes) = self.stream.send_at_once(buf)
        {
            written = Poll::Ready(Ok(bytes));
        }
        self.conn.note_write(written.is_pending());
        written
    }
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    pub(super) fn is_in_clear(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }

    /// Reads what has come, if nothing but HTTP is spoken, see [`Tcp::read_at_once`].
    pub(super) fn read_at_once(&self, early: &mut BytesMut) -> bool {
        match self {
            Stream::Plain(socket) => socket.stream.read_at_once(early),
            Stream::Tls(_) => false,
        }
    }

    /// The socket, to look whether the client is still there. `None`: under TLS that cannot be seen, and as long as the
    /// patrol does not ask for it, it is not worth making the socket known to the runtime.
    ///
    /// # Errors
    /// The runtime takes no more sockets.
    pub(super) fn watched(&mut self) -> io::Result<Option<&TcpStream>> {
        match self {
            Stream::Plain(Socket { stream, conn, .. }) if stream.is_registered() || conn.is_watched() => {
                stream.register().map(|stream| Some(&*stream))
            }
            Stream::Plain(_) | Stream::Tls(_) => Ok(None),
        }
    }

    /// Ready when there is something to be read, be it the end or an error. Under TLS nothing may have been left in the
    /// session: the last read found nothing.
    pub(super) fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_mut().0,
        };
        // Who cannot be waited for is told so when it is read from.
        socket.stream.register().map_or(Poll::Ready(()), |stream| stream.poll_read_ready(cx).map(drop))
    }

    /// Makes the close a reset that leaves nothing behind.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        self.socket().stream.set_zero_linger()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            give_back(&mut self.early, buf);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// Hands out bytes that were read too early, and their memory back after the last one.
pub(super) fn give_back(early: &mut BytesMut, buf: &mut ReadBuf<'_>) {
    let bytes = early.len().min(buf.remaining());
    buf.put_slice(&early[..bytes]);
    early.advance(bytes);
    if early.is_empty() {
        *early = BytesMut::new();
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(written, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = poll_write_pieces(&mut self.stream, cx, bufs);
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&b""[..], |buf| buf);
        self.note_write(written, first)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Under TLS with a `close_notify` first, so that the client can tell an end from a cut (RFC 8446 section 6.1).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
