//! A client's stream: gives back the bytes that were read to tell the protocol, looks at heads on their way to hyper,
//! puts interim answers in, notices that the client has gone, and closes with care.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{
    ClientConn,
    conn::Doing,
    hangup::Hangup,
    head::HeadScan,
    refusal::{HeadLimits, automatic},
    stream::{Stream, give_back},
    trailers::TrailerScan,
};
use crate::telemetry::FailureKind;

/// How long is read after the last answer, so that a reset does not erase it (RFC 9112 section 9.6): in all, and
/// without a byte.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_QUIET: Duration = Duration::from_secs(2);

/// Of an HTTP/2 connection's first words; its first frame follows.
const PREFACE_BYTES: u64 = 24;

/// GOAWAY with ENHANCE_YOUR_CALM; the stream id says that any request may have been processed (RFC 9113 section 6.8).
const CALM_DOWN: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// The stream of one client connection. In the order written, as [`ClientConn`] is: what a write needs comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Downstream {
    /// Always there until drop.
    stream: Option<Stream>,
    conn: Arc<ClientConn>,
    hangup: Hangup,
    /// A head must not be passed on; hyper thinks that it or the stream has told the client.
    refused: Option<FailureKind>,
    /// The last write took a part only: what is written next is in the middle of a frame.
    inside: bool,
    /// Interim answers that are being written.
    interim: Bytes,
    /// Bytes read before the protocol was known.
    early: BytesMut,
    /// Bytes read so far.
    read: u64,
    limits: HeadLimits,
    head: HeadScan,
    trailers: TrailerScan,
}

impl Downstream {
    pub(super) fn new(stream: Stream, early: BytesMut, conn: Arc<ClientConn>, limits: HeadLimits) -> Self {
        Self {
            stream: Some(stream),
            early,
            inside: false,
            conn,
            limits,
            head: HeadScan::default(),
            trailers: TrailerScan::Off,
            read: 0,
            refused: None,
            hangup: Hangup::Open,
            interim: Bytes::new(),
        }
    }

    /// Why the connection's last head was refused, if it was and the client has not been told.
    pub(super) fn refused(&self) -> Option<FailureKind> {
        self.refused
    }

    fn refuse(&mut self, kind: FailureKind) {
        self.refused = Some(kind);
        self.conn.note_refusal();
    }

    /// What is said now goes to the client.
    pub(super) fn speak(&mut self) {
        self.refused = None;
    }

    pub(super) fn is_in_clear(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_in_clear)
    }

    /// Ready when there is something to be read, be it the end. Cancel-safe.
    pub(super) fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) if self.early.is_empty() => stream.poll_word(cx),
            _ => Poll::Ready(()),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Bytes have come.
    fn note_read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.hangup.note_read();
        let start = self.read;
        self.read += bytes.len() as u64;
        self.conn.note_place(self.read);
        if !self.conn.is_http1() {
            return if begins_with_settings(bytes, start) {
                Ok(())
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is not SETTINGS"))
            };
        }
        if self.conn.doing() == Doing::Idle {
            self.head = HeadScan::at(start, self.conn.expects_head_at(start));
            self.trailers = TrailerScan::Off;
        }
        self.conn.note_read();
        let mut body = 0;
        if self.conn.doing() == Doing::Head && self.head.is_open() {
            if let Err(fault) = self.head.feed(bytes) {
                tracing::debug!(?fault, client = %self.conn.peer, "A request head is refused.");
                self.refuse(FailureKind::BadRequest);
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(end) = self.head.end() else { return Ok(()) };
            self.conn.note_head_end(end);
            if !self.head.has_coding() {
                return Ok(());
            }
            self.trailers = TrailerScan::begin();
            body = usize::try_from(end - start).unwrap_or_default();
        }
        if self.trailers != TrailerScan::Off {
            return self.note_chunks(&bytes[body..], start + body as u64);
        }
        Ok(())
    }

    /// Bytes of a chunked body have come.
    fn note_chunks(&mut self, bytes: &[u8], start: u64) -> io::Result<()> {
        match self.trailers.feed(bytes) {
            Ok(_) if self.trailers != TrailerScan::Off => {}
            Ok(taken) => self.conn.note_body_end(start + taken as u64),
            Err(_loose) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the body's chunks are malformed")),
        }
        Ok(())
    }

    /// Keeps hyper's own bare answer back, so that the proxy's can take its place.
    fn keeps_back(&mut self, bytes: &[u8]) -> bool {
        if !self.conn.is_http1() || self.conn.doing() != Doing::Head {
            return false;
        }
        let Some(kind) = automatic(bytes) else { return false };
        let (lines, bytes) = self.head.extent();
        self.refuse(self.limits.judge(kind, lines, bytes, self.head.end().is_some()));
        true
    }

    /// Ready when no interim answer is left to be written.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(more) = self.conn.take_interim() {
            self.interim = [self.interim.as_ref(), &more].concat().into();
        }
        while !self.interim.is_empty() {
            let text = self.interim.clone();
            let bytes = ready!(self.stream()?.poll_write(cx, &text))?;
            self.interim.advance(bytes);
            self.hangup.note_write();
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&mut self, result: &Poll<io::Result<usize>>, offered: usize) {
        self.hangup.note_write();
        let all = matches!(result, Poll::Ready(Ok(bytes)) if *bytes == offered);
        self.inside = !all;
        self.conn.is_blocked.store(!all, Relaxed);
    }
}

/// False if these bytes, which come `start` bytes behind the connection's beginning, show that its first frame is not
/// SETTINGS, or is an acknowledgement of some (RFC 9113 section 3.4); the HTTP library takes any.
fn begins_with_settings(bytes: &[u8], start: u64) -> bool {
    const KIND: (u64, u8) = (PREFACE_BYTES + 3, 4);
    const FLAGS: u64 = KIND.0 + 1;
    let at = |place: u64| place.checked_sub(start).and_then(|index| bytes.get(usize::try_from(index).ok()?));
    start > FLAGS || (at(KIND.0).is_none_or(|kind| *kind == KIND.1) && at(FLAGS).is_none_or(|flags| flags & 1 == 0))
}

/// Cuts a client's upgraded connection: the close that follows is a reset.
pub fn cut_upgraded(upgraded: Upgraded) {
    if let Ok(parts) = upgraded.downcast::<TokioIo<Box<Downstream>>>()
        && let Some(stream) = &parts.io.inner().stream
    {
        // A socket that cannot be told so is closed in the ordinary way.
        let _ = stream.set_zero_linger();
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.early.is_empty() {
            match ready!(self.stream()?.poll_read(cx, buf)) {
                // Under TLS, many clients close without saying so first. Between requests nothing is lost by it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.conn.doing() != Doing::Busy => {
                    return Poll::Ready(Ok(()));
                }
                result => result?,
            }
        } else {
            give_back(&mut self.early, buf);
        }
        if buf.filled().len() > before {
            self.note_read(&mut buf.filled_mut()[before..])?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.refused.is_some() || self.keeps_back(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_interim(cx))?;
        let result = self.stream()?.poll_write(cx, buf);
        self.note_write(&result, buf.len());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if self.refused.is_some() || bufs.first().is_some_and(|first| self.keeps_back(first)) {
            return Poll::Ready(Ok(offered));
        }
        ready!(self.poll_interim(cx))?;
        let result = self.stream()?.poll_write_vectored(cx, bufs);
        self.note_write(&result, offered);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes at the end of each of its rounds, with nothing left to write: the moment for interim answers, and
    /// to look whether the client is still there.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let this = &mut *self;
        if this.conn.doing() == Doing::Busy
            && this.conn.is_http1()
            && let Some(stream) = &mut this.stream
            && let Some(socket) = stream.watched()?
            && let Poll::Ready(gone) = this.hangup.poll_gone(socket, &this.conn, cx)
        {
            tracing::debug!(error = %gone, client = %this.conn.peer, "A client has gone.");
            return Poll::Ready(Err(gone));
        }
        this.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // HTTP/1.1 in clear is shut down only to be closed next, or to linger: both send the FIN themselves.
        if self.refused.is_some() || self.conn.is_http1() && self.is_in_clear() {
            return Poll::Ready(Ok(()));
        }
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.conn.has_stalled() || self.conn.is_cut() {
            // A client that takes nothing takes no farewell either, and the kernel would keep what it was sent. And an
            // answer that lasts until the close must not seem whole.
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
    let mut buffer = vec![0; 16 * 1024];
    // A time-out, an error and the client's end are all the same here: the stream is dropped.
    let _ = tokio::time::timeout(LINGER, async {
        let goodbye = async {
            stream.write_all(farewell).await?;
            stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(LINGER_QUIET, goodbye).await, Ok(Ok(()))) {
            return;
        }
        while let Ok(Ok(1..)) = tokio::time::timeout(LINGER_QUIET, stream.read(&mut buffer)).await {}
    })
    .await;
}
