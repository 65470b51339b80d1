//! An HTTP/2 connection's frames, gathered until its task has had its turn.
//!
//! Many streams answer at about the same time. The HTTP library writes each data frame that is not tiny by itself, and a
//! system call costs more than to copy it. So small pieces wait in one buffer and leave together, when the connection's
//! task has nothing more to say: whoever polls it calls [`Gathered::push`] afterwards, each time. Large pieces leave at
//! once, together with what waits before them.
//!
//! Nothing is told to be written that is not at least here: so a failure comes one turn late, and never goes unnoticed.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A piece of more bytes is not copied.
const PIECE_MAX: usize = 8 * 1024;
/// Bytes that may wait.
const WAITING_MAX: usize = 32 * 1024;
/// Room made for them at first.
const WAITING_MIN: usize = 2 * 1024;

/// A stream whose writes are gathered. Clones are the same stream.
#[derive(Debug)]
pub struct Gathered<S>(Rc<RefCell<Outlet<S>>>);

#[derive(Debug)]
struct Outlet<S> {
    stream: S,
    waiting: BytesMut,
    /// Something was written or to be flushed in this turn.
    touched: bool,
    /// How writing failed.
    broken: Option<io::ErrorKind>,
}

pin_project! {
    /// A task of a connection's, which pushes after each of its turns.
    #[derive(Debug)]
    pub struct Pushing<F, S> {
        #[pin]
        task: F,
        stream: Gathered<S>,
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Outlet { stream, waiting: BytesMut::new(), touched: false, broken: None })))
    }

    /// Writes what waits, as far as the stream takes it now. Does nothing after a turn that did not touch the stream, so
    /// that it is the connection's own task that is woken for the rest.
    pub fn push(&self, cx: &mut Context<'_>) {
        let outlet = &mut *self.0.borrow_mut();
        if std::mem::take(&mut outlet.touched)
            && outlet.broken.is_none()
            && let Poll::Ready(Err(error)) = outlet.poll_push(cx)
        {
            outlet.broken = Some(error.kind());
            // The connection is told when it touches the stream again.
            cx.waker().wake_by_ref();
        }
    }

    /// The task, pushing.
    pub fn pushing<F>(&self, task: F) -> Pushing<F, S> {
        Pushing { task, stream: self.clone() }
    }
}

impl<S: AsyncWrite + Unpin> Outlet<S> {
    fn touch(&mut self) -> io::Result<()> {
        self.touched = true;
        self.broken.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Ready when nothing waits any more.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting))?;
            self.note_write(bytes)?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The memory goes with the last byte: most connections are idle most of the time.
    fn note_write(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.waiting.advance(bytes);
        if self.waiting.is_empty() {
            self.waiting = BytesMut::new();
        }
        Ok(())
    }

    fn poll_pieces(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.touch()?;
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if bytes > PIECE_MAX {
            return self.poll_through(cx, pieces);
        }
        if self.waiting.len() + bytes > WAITING_MAX {
            ready!(self.poll_push(cx))?;
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(bytes.max(WAITING_MIN));
        }
        pieces.iter().for_each(|piece| self.waiting.extend_from_slice(piece));
        Poll::Ready(Ok(bytes))
    }

    /// Writes pieces where they are, behind what waits.
    fn poll_through(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.waiting.is_empty() {
            let mut all = [io::IoSlice::new(&[]); 4];
            all[0] = io::IoSlice::new(&self.waiting);
            for (place, piece) in all[1..].iter_mut().zip(pieces) {
                *place = io::IoSlice::new(piece);
            }
            let bytes = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &all))?;
            let waited = self.waiting.len();
            self.note_write(bytes.min(waited))?;
            if bytes > waited {
                return Poll::Ready(Ok(bytes - waited));
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: Future, S: AsyncWrite + Unpin> Future for Pushing<F, S> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.task.poll(cx);
        this.stream.push(cx);
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_pieces(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_pieces(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The library flushes after each frame, too; what waits leaves at the turn's end.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.borrow_mut().touch())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outlet = &mut *self.0.borrow_mut();
        outlet.touch()?;
        ready!(outlet.poll_push(cx))?;
        Pin::new(&mut outlet.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
