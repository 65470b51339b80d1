//! Listening sockets.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::defer;

/// Connections that may wait for `accept`; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;

/// A listening socket was not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key})")]
pub struct BindError {
    pub address: SocketAddr,
    /// The config key that named the address.
    pub key: &'static str,
    pub source: io::Error,
}

/// Binds and listens; port 0 takes any free port.
///
/// # Errors
/// The address is taken, not ours, or not permitted.
pub fn bind(address: SocketAddr, key: &'static str) -> Result<std::net::TcpListener, BindError> {
    open(address).map_err(|source| BindError { address, key, source })
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart bind while connections of the old process linger in TIME_WAIT; never shares a live port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Small answers must not wait for one another. Accepted sockets inherit it, which saves each of them a system call.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A listening socket whose clients are unknown to any runtime: the thread that is to serve one is the first that
/// registers it.
#[derive(Debug)]
pub struct Listener(mio::net::TcpListener);

impl Listener {
    /// The socket must not block.
    pub fn new(listener: std::net::TcpListener) -> Self {
        Self(mio::net::TcpListener::from_std(listener))
    }

    /// Takes a client from the kernel's queue. Its socket does not block.
    ///
    /// # Errors
    /// `WouldBlock`: none waits. Others as `accept(2)` has them.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept()?;
        Ok((stream.into(), peer))
    }

    /// From now on clients are handed over when they ask, or a second after they have connected; or else, at once. A
    /// system that cannot do the former goes on doing the latter.
    ///
    /// # Errors
    /// As `setsockopt(2)` has them.
    pub fn defer(&self, defer: bool) -> io::Result<()> {
        defer::set(&self.0, defer)
    }

    /// True if a client's handshake is half done, or it has not asked yet and was not handed over: closing the socket
    /// would reset it. True, too, where the kernel does not tell.
    pub async fn has_handshakes(&self) -> bool {
        let Ok(port) = self.0.local_addr().map(|address| address.port()) else { return true };
        let mut told = false;
        for page in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let Ok(table) = tokio::fs::read_to_string(page).await else { continue };
            told = true;
            if defer::is_half_open(&table, port) {
                return true;
            }
        }
        !told
    }

    /// Looks out for clients on this thread's runtime; several threads may.
    ///
    /// # Errors
    /// No descriptor is free, or the runtime's driver takes no more.
    pub fn lookout(&self) -> io::Result<Lookout<'_>> {
        let descriptor: OwnedFd = self.0.as_fd().try_clone_to_owned()?;
        Ok(Lookout { listener: self, readiness: tokio::net::TcpStream::from_std(descriptor.into())? })
    }
}

/// A listening socket that is registered with a runtime.
#[derive(Debug)]
pub struct Lookout<'a> {
    listener: &'a Listener,
    /// The listening socket once more. It is a stream in name only, because the runtime's listener would register each
    /// client that it accepts.
    readiness: tokio::net::TcpStream,
}

impl Lookout<'_> {
    /// Returns when a client may be waiting. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is at its end.
    pub async fn client(&self) -> io::Result<()> {
        self.readiness.readable().await
    }

    /// Takes a client from the kernel's queue, see [`Listener::accept`]; `WouldBlock` as long as the runtime knows of none.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.readiness.try_io(Interest::READABLE, || self.listener.accept())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Fails when: a client that is silent is handed over at once, one that asks is not, or nothing tells of a client
    /// that the kernel keeps.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_deferred_client_is_handed_over_when_it_asks() {
        let listener = Listener::new(bind("127.0.0.1:0".parse().unwrap(), "test").unwrap());
        listener.defer(true).unwrap();
        assert!(!listener.has_handshakes().await);
        let mut client = TcpStream::connect(listener.0.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(listener.has_handshakes().await);
        client.write_all(b"?").unwrap();
        assert_eq!(next(&listener).await, client.local_addr().unwrap());
        assert!(!listener.has_handshakes().await);
        listener.defer(false).unwrap();
        let silent = TcpStream::connect(listener.0.local_addr().unwrap()).unwrap();
        assert_eq!(next(&listener).await, silent.local_addr().unwrap());
    }

    /// Where the next client is; the kernel may need a moment to hand it over.
    async fn next(listener: &Listener) -> SocketAddr {
        let lookout = listener.lookout().unwrap();
        loop {
            lookout.client().await.unwrap();
            match lookout.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return accepted.unwrap().1,
            }
        }
    }

    /// Fails when: `open` leaves TCP_NODELAY out, or `accept` hands out sockets that block.
    #[tokio::test]
    async fn clients_are_accepted_with_everything_set() {
        let listener = Listener::new(bind("127.0.0.1:0".parse().unwrap(), "test").unwrap());
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let client = TcpStream::connect(listener.0.local_addr().unwrap()).unwrap();
        let lookout = listener.lookout().unwrap();
        lookout.client().await.unwrap();
        let (accepted, peer) = lookout.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(accepted.nodelay().unwrap());
        assert!(Socket::from(accepted).nonblocking().unwrap());
        assert_eq!(lookout.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
