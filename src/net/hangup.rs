//! Tells a client that has gone from one that has only closed its sending side.
//!
//! Both look the same at first: a FIN. A half-closed client still wants its answer (RFC 9112 section 9.6), and a model
//! must not go on working for one that has hung up. What tells them apart is a byte sent: it comes back as a reset from
//! a socket that is closed. So after a FIN there is a short grace. An answer that comes meanwhile is written, and its
//! bytes are the question. If none has begun, `100 Continue` is the question, which every client of HTTP/1.1 passes
//! over (RFC 9110 section 15.2). An answer that stands still in the middle has no byte to ask with; its client is taken
//! for gone, as is a silent one of HTTP/1.0.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, time::Sleep};

use super::ClientConn;

/// How long nothing may be heard or said after a FIN.
const GRACE: Duration = Duration::from_millis(300);
/// How often the socket is looked at afterwards.
const LOOK: Duration = Duration::from_millis(50);
const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is known of the client's end while a request is open.
#[derive(Debug, Default)]
pub(super) enum Hangup {
    /// It has not closed.
    #[default]
    Open,
    /// More bytes wait to be read; behind them nothing can be seen.
    Hidden,
    /// It has sent FIN. Boxed, because few do while they wait.
    Fin(Box<Fin>),
}

#[derive(Debug)]
pub(super) struct Fin {
    look: Pin<Box<Sleep>>,
    quiet: Duration,
    asked: bool,
}

impl Hangup {
    /// Bytes were read: what is behind them can be seen again.
    pub(super) fn note_read(&mut self) {
        if matches!(self, Hangup::Hidden) {
            *self = Hangup::Open;
        }
    }

    /// Bytes were written: whoever does not want them will say so.
    pub(super) fn note_write(&mut self) {
        if let Hangup::Fin(fin) = self {
            fin.quiet = Duration::ZERO;
        }
    }

    /// Ready once the client is gone. Nothing may wait to be written.
    pub(super) fn poll_gone(&mut self, stream: &TcpStream, conn: &ClientConn, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            match self {
                Hangup::Hidden => return Poll::Pending,
                Hangup::Open => match ready!(poll_end(stream, cx)) {
                    Ok(seen) => *self = seen,
                    Err(error) => return Poll::Ready(error),
                },
                Hangup::Fin(fin) => {
                    let Fin { look, quiet, asked } = &mut **fin;
                    if let Ok(Some(error)) | Err(error) = stream.take_error() {
                        return Poll::Ready(error);
                    }
                    ready!(look.as_mut().poll(cx));
                    *quiet += LOOK;
                    look.as_mut().reset(tokio::time::Instant::now() + LOOK);
                    if *quiet < GRACE || *asked && !conn.is_answering() {
                        continue;
                    }
                    *asked = true;
                    *quiet = Duration::ZERO;
                    let can_ask = !conn.is_answering() && conn.takes_interim();
                    if !can_ask || !matches!(stream.try_write(QUESTION), Ok(bytes) if bytes == QUESTION.len()) {
                        return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
                    }
                }
            }
        }
    }
}

/// Ready when there is something to be known: the client's end, or bytes that hide it.
fn poll_end(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Hangup>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut byte = [MaybeUninit::uninit()];
        match stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut byte)) {
            Ok(0) => {
                let look = Box::pin(tokio::time::sleep(LOOK));
                return Poll::Ready(Ok(Hangup::Fin(Box::new(Fin { look, quiet: Duration::ZERO, asked: false }))));
            }
            Ok(_) => return Poll::Ready(Ok(Hangup::Hidden)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
