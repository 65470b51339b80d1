//! A client's TCP socket, which the runtime gets to know only when it has to wait for it.
//!
//! Under load a client has asked by the time that it is accepted, and many ask once and leave. Reading that and writing the
//! answer need no waiting, and to register the socket and take it out again would be two of eight system calls. So
//! the first bytes are read, and all is written, past the runtime; it learns of the socket when a read or a write has to
//! wait, or when the patrol finds a request that lasts, whose client may go meanwhile.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Read at first; more than most heads have.
pub(super) const EARLY_BYTES: usize = 4096;

thread_local! {
    /// Where first bytes are read to; only as many as came are kept, because many clients connect long before they ask.
    static SPACE: RefCell<[u8; EARLY_BYTES]> = const { RefCell::new([0; EARLY_BYTES]) };
}

/// A socket that does not block.
#[derive(Debug)]
pub(super) enum Tcp {
    Unregistered(std::net::TcpStream),
    Registered(TcpStream),
    /// The runtime would not have it, and it is closed.
    Refused,
}

impl Tcp {
    /// The socket, registered with this thread's runtime.
    ///
    /// # Errors
    /// The runtime takes no more sockets.
    #[inline]
    pub(super) fn register(&mut self) -> io::Result<&mut TcpStream> {
        if let Tcp::Unregistered(_) = self {
            self.make_known()?;
        }
        match self {
            Tcp::Registered(stream) => Ok(stream),
            Tcp::Unregistered(_) | Tcp::Refused => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    #[cold]
    fn make_known(&mut self) -> io::Result<()> {
        if let Tcp::Unregistered(stream) = std::mem::replace(self, Tcp::Refused) {
            *self = Tcp::Registered(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    #[inline]
    fn registered(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().register().map(Pin::new)
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self, Tcp::Registered(_))
    }

    /// Reads what has come, past the runtime. False if nothing is known.
    pub(super) fn read_at_once(&self, early: &mut BytesMut) -> bool {
        let Tcp::Unregistered(stream) = self else { return false };
        SPACE.with_borrow_mut(|space| {
            let bytes = (&*stream).read(space).unwrap_or(0);
            early.extend_from_slice(&space[..bytes]);
            bytes > 0
        })
    }

    /// Sends what the kernel takes, whatever the runtime knows.
    ///
    /// # Errors
    /// As `send(2)` has them.
    pub(super) fn send_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket()?.send(bytes)
    }

    /// Makes the close a reset that leaves nothing behind.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        self.socket()?.set_linger(Some(Duration::ZERO))
    }

    fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            Tcp::Unregistered(stream) => Ok(SockRef::from(stream)),
            Tcp::Registered(stream) => Ok(SockRef::from(stream)),
            Tcp::Refused => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes past the runtime as long as that does not know the socket. `None`: it is to be asked.
    fn write_at_once(
        &self,
        write: impl FnOnce(&std::net::TcpStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let Tcp::Unregistered(stream) = self else { return None };
        let written = write(stream);
        let must_wait = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        (!must_wait).then_some(written)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.write_at_once(|mut stream| stream.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => self.registered()?.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.write_at_once(|mut stream| stream.write_vectored(bufs)) {
            Some(written) => Poll::Ready(written),
            None => self.registered()?.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel has all that was written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (Tcp::Unregistered(accepted), client)
    }

    /// Fails when: `read_at_once` or a write that need not wait registers the socket, or loses a byte.
    #[tokio::test]
    async fn what_need_not_wait_passes_the_runtime_by() {
        let (mut tcp, mut client) = pair();
        let mut early = BytesMut::new();
        assert!(!tcp.read_at_once(&mut early), "nothing has come yet");
        client.write_all(b"question").unwrap();
        while !tcp.read_at_once(&mut early) {}
        assert_eq!(early, "question");
        tcp.write_all(b"an").await.unwrap();
        assert_eq!(tcp.write_vectored(&[io::IoSlice::new(b"sw"), io::IoSlice::new(b"er")]).await.unwrap(), 4);
        assert!(!tcp.is_registered());
        drop(tcp);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }

    /// Fails when: a write that has to wait, or a read, does not make the socket known and so is never woken; when a
    /// byte is written twice at the change.
    #[tokio::test]
    async fn what_has_to_wait_is_waited_for() {
        const BYTES: usize = 16 << 20;
        let (mut tcp, mut client) = pair();
        let sent: Vec<u8> = (0..BYTES).map(|place| (place / 251) as u8).collect();
        let reader = std::thread::spawn(move || {
            let mut taken = vec![0; BYTES];
            client.read_exact(&mut taken).unwrap();
            client.write_all(b"taken").unwrap();
            taken
        });
        tcp.write_all(&sent).await.unwrap();
        assert!(tcp.is_registered(), "so many bytes cannot be written at once");
        let mut word = [0; 5];
        tcp.read_exact(&mut word).await.unwrap();
        assert_eq!((&word, reader.join().unwrap() == sent), (b"taken", true));

        let (mut tcp, mut client) = pair();
        let asks = std::thread::spawn(move || client.write_all(b"hello"));
        tcp.read_exact(&mut word).await.unwrap();
        asks.join().unwrap().unwrap();
        assert_eq!(&word, b"hello");
        assert!(tcp.is_registered());
    }
}
