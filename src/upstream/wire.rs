//! An upstream connection's stream that counts its bytes: *was anything written, did an answer begin* are two of the
//! three facts that decide a replay.
//!
//! On HTTP/1.1 it also keeps a broken write from hiding an answer. A server that refuses a body answers and closes while
//! the body still comes (llama.cpp beyond 100 MiB): the next write fails, but the answer lies in the receive buffer, and
//! the HTTP library would give up at the failed write. So the failure is held back until the answer has been read to
//! its end, or there is nothing more to read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::UpstreamStream;
use crate::net::hush::{Bell, wakes_by_bell};

/// Bytes that went over one connection so far. Atomic only because hyper wants streams to be `Send`; one thread uses it.
/// In the order written, as [`ClientConn`](crate::net::ClientConn) is: what each part that is read needs comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct WireFacts {
    written: AtomicU64,
    read: AtomicU64,
    /// Of the connection's task (HTTP/1.1).
    bell: Bell,
    /// An answer may still come: a write that fails is not told yet.
    holding: AtomicBool,
    /// Somebody waits for a write that failed, and who.
    is_held_up: AtomicBool,
    held_up: Mutex<Option<Waker>>,
}

wakes_by_bell!(WireFacts);

impl WireFacts {
    /// A request goes out, so an answer may come. Only for a protocol that goes on reading while a write waits.
    pub(super) fn hold_write_failures(&self) {
        self.holding.store(true, Relaxed);
    }

    /// No answer is read any more: a write that failed is told from now on.
    pub(super) fn tell_write_failures(&self) {
        if !self.holding.load(Relaxed) {
            return;
        }
        self.holding.store(false, Relaxed);
        if self.is_held_up.load(Relaxed)
            && let Some(waker) = self.held_up.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waker.wake();
        }
    }

    /// Bytes written and read so far.
    pub fn snapshot(&self) -> (u64, u64) {
        (self.written.load(Relaxed), self.read.load(Relaxed))
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.store(counter.load(Relaxed) + bytes as u64, Relaxed);
}

/// The counting stream.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UpstreamStream,
    facts: Arc<WireFacts>,
    /// How writing failed.
    broken: Option<io::ErrorKind>,
}

impl Wire {
    pub(super) fn new(stream: UpstreamStream) -> (Self, Arc<WireFacts>) {
        let facts = Arc::new(WireFacts::default());
        (Self { stream, facts: facts.clone(), broken: None }, facts)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let bytes = buf.filled().len() - before;
        add(&self.facts.read, bytes);
        if bytes == 0 {
            self.facts.tell_write_failures();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.poll_broken(cx);
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.poll_broken(cx);
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Wire {
    fn note_write(&mut self, cx: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => add(&self.facts.written, bytes),
            Poll::Ready(Err(error)) if has_closed(&error) => {
                self.broken = Some(error.kind());
                return self.poll_broken(cx);
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        result
    }

    /// The failure, once nobody reads an answer any more.
    fn poll_broken(&self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if self.facts.holding.load(Relaxed) {
            *self.facts.held_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.facts.is_held_up.store(true, Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(Err(self.broken.unwrap_or(io::ErrorKind::BrokenPipe).into()))
    }

    /// Makes the close that follows a reset: what runs over the stream was cut, not ended.
    pub(super) fn cut(&self) {
        self.stream.cut();
    }
}

/// The peer takes no more; what it sent before can still be read.
fn has_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// Cuts an upgraded upstream connection.
pub fn cut_upgraded(upgraded: Upgraded) {
    if let Ok(parts) = upgraded.downcast::<TokioIo<Wire>>() {
        parts.io.inner().cut();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
    };

    use super::*;

    /// A wire whose peer has closed, leaving `text` to be read.
    async fn closed(text: &[u8]) -> (Wire, Arc<WireFacts>) {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(text).await.unwrap();
        drop(far);
        Wire::new(UpstreamStream::Unix(near))
    }

    async fn waits(wire: &mut Wire) -> bool {
        tokio::time::timeout(Duration::from_millis(20), wire.write(b"body")).await.is_err()
    }

    #[tokio::test]
    async fn a_failed_write_waits_until_the_answer_is_read() {
        let (mut wire, facts) = closed(b"answer").await;
        facts.hold_write_failures();
        assert!(waits(&mut wire).await);
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        assert_eq!(wire.write(b"body").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_failed_write_is_told_when_nobody_reads() {
        let (mut wire, facts) = closed(b"answer").await;
        assert!(wire.write(b"body").await.is_err(), "nothing is held back unasked");
        facts.hold_write_failures();
        let writing = tokio::spawn(async move { wire.write(b"body").await.is_err() });
        tokio::task::yield_now().await;
        facts.tell_write_failures();
        assert!(writing.await.unwrap());
    }
}
