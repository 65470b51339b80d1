//! Clients that are handed over when they ask, not when they have connected (Linux, TCP_DEFER_ACCEPT in tcp(7)).
//!
//! Accepting one, reading its request and answering it is then one turn of a worker: without, it would be woken for
//! the connection, find nothing to read, and be woken again.

use std::{io, os::fd::AsFd, time::Duration};

/// How long the kernel keeps a client that says nothing. When the time is over it repeats its part of the handshake, and
/// hands the client over at the answer to that.
const KEPT_SECONDS: u32 = 1;

/// After so long every client that has connected was handed over, save those whose packets were lost.
pub const HANDSHAKE_MAX: Duration = Duration::from_millis(1_200);

/// How the kernel writes the state of a handshake that is half done: `TCP_SYN_RECV` of its `net/tcp_states.h`.
const HALF_OPEN: &str = "03";

#[cfg(target_os = "linux")]
mod option {
    use nix::sys::socket::sockopt::SetStruct;

    #[derive(Clone, Copy, Debug)]
    pub(super) struct DeferAccept;
    nix::setsockopt_impl!(DeferAccept, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32, SetStruct<'_, u32>);
}

/// Has a listening socket hand over clients when they ask (`true`), or when they have connected.
///
/// # Errors
/// The system cannot do it.
#[cfg(target_os = "linux")]
pub(super) fn set(socket: &impl AsFd, defer: bool) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(socket, option::DeferAccept, &if defer { KEPT_SECONDS } else { 0 })?)
}

/// Other systems hand over clients when they have connected.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_socket: &impl AsFd, _defer: bool) -> io::Result<()> {
    Ok(())
}

/// True if a handshake with this port is half done, as seen from `table`, the kernel's page of sockets.
pub(super) fn is_half_open(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (columns.next(), columns.next(), columns.next());
        local.is_some_and(|local| local.ends_with(&port)) && state == Some(HALF_OPEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:1F90 0100007F:D2F0 03 00000000:00000000 01:00000063 00000000     0        0 0 1
   2: 0100007F:1F91 0100007F:D2F2 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
";

    /// Fails when: another port's handshake counts, or a socket in another state, or a handshake is overlooked.
    #[test]
    fn a_handshake_is_told_by_port_and_state() {
        assert!(is_half_open(TABLE, 8080));
        assert!(!is_half_open(TABLE, 8081));
        assert!(!is_half_open(TABLE, 0xD2F0));
        assert!(!is_half_open("", 8080));
    }
}
