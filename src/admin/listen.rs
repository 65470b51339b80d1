//! Where the admin API listens.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
};

use crate::{
    config::{AdminListen, AdminSettings},
    net,
};

/// A bound socket; it becomes asynchronous when it is served.
#[derive(Debug)]
pub enum Listener {
    Tcp(std::net::TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The admin API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(transparent)]
    Tcp(#[from] net::BindError),
    #[error("cannot listen on unix:{} (admin.listen): {source}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("unix:{} (admin.listen) is in use: another process answers there; stop it or choose another path", path.display())]
    InUse { path: PathBuf },
}

impl Listener {
    pub fn addr(&self) -> BoundAddr {
        match self {
            Listener::Tcp(_, address) => BoundAddr::Tcp(*address),
            Listener::Unix(_, path) => BoundAddr::Unix(path.clone()),
        }
    }
}

impl fmt::Display for BoundAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundAddr::Tcp(address) => write!(f, "http://{address}"),
            BoundAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Binds. A unix socket is only for its owner (mode 0600), and takes the place of a stale one.
///
/// # Errors
/// The address is taken or not permitted.
pub fn bind(settings: &AdminSettings) -> Result<Listener, BindError> {
    match &settings.listen {
        AdminListen::Tcp(address) => {
            let listener = net::bind(*address, "admin.listen")?;
            let bound = listener.local_addr().unwrap_or(*address);
            Ok(Listener::Tcp(listener, bound))
        }
        AdminListen::Unix(path) => bind_unix(path),
    }
}

fn bind_unix(path: &Path) -> Result<Listener, BindError> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse { path: path.to_owned() });
    }
    let failed = |source| BindError::Unix { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let settings = AdminSettings { listen: AdminListen::Unix(path.clone()), token_file: None };
        let first = bind(&settings).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&settings), Err(BindError::InUse { .. })));
        drop(first);
        assert!(bind(&settings).is_ok(), "the socket's file is left over, nobody listens");
    }
}
