//! Listening sockets.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

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
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
