//! The listening socket: TCP, or a unix socket that only its owner may use.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener as StdUnixListener,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::{
    config::{AdminListen, AdminSettings},
    net,
};

/// A bound socket that listens.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The admin API has no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(transparent)]
    Tcp(#[from] net::BindError),
    #[error("admin.listen: something listens on {} already; stop it, or choose another path", path.display())]
    InUse { path: PathBuf },
    #[error("admin.listen: {} exists and is not a socket; remove it, or choose another path", path.display())]
    NotASocket { path: PathBuf },
    #[error("admin.listen: cannot listen on {}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("admin.listen: the socket cannot be handed to the runtime: {0}")]
    Runtime(io::Error),
}

impl Listener {
    /// The address and port of a TCP listener.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

/// Binds and listens; port 0 takes any free port. A unix socket gets mode 0600 and takes the place of one on which
/// nobody listens any more. Call it within a tokio runtime with I/O.
///
/// # Errors
/// The address is taken, not ours, or not permitted.
pub fn bind(settings: &AdminSettings) -> Result<Listener, BindError> {
    match &settings.listen {
        AdminListen::Tcp(address) => {
            let listener = net::bind(*address, "admin.listen")?;
            TcpListener::from_std(listener).map(Listener::Tcp).map_err(BindError::Runtime)
        }
        AdminListen::Unix(path) => {
            make_way(path)?;
            let listener = open(path).map_err(|source| BindError::Unix { path: path.clone(), source })?;
            UnixListener::from_std(listener).map(Listener::Unix).map_err(BindError::Runtime)
        }
    }
}

/// Makes sure that what stands at this path, if anything, may be replaced.
fn make_way(path: &Path) -> Result<(), BindError> {
    let unusable = |source| BindError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) if is_alive(path).map_err(unusable)? => Err(BindError::InUse { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(error)),
    }
}

/// Only a refused connection shows that nobody listens; a full queue, for one, shows the opposite.
fn is_alive(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) => Ok(!matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)),
        Ok(()) => Ok(true),
    }
}

/// Bound under a name of its own, made private, and only then put in its place: nobody else can ever connect.
fn open(path: &Path) -> io::Result<StdUnixListener> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let private = PathBuf::from(name);
    remove_if_there(&private)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&private)?)?;
    fs::set_permissions(&private, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    fs::rename(&private, path)?;
    Ok(socket.into())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_unix(path: &Path) -> Result<Listener, BindError> {
        bind(&AdminSettings { listen: AdminListen::Unix(path.to_owned()), token_file: None, tls: None })
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        (dir, path)
    }

    #[tokio::test]
    async fn a_unix_socket_is_private_and_leaves_nothing_else() {
        let (dir, path) = directory();
        let _listener = bind_unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let (_dir, path) = directory();
        let first = bind_unix(&path).unwrap();
        assert!(matches!(bind_unix(&path), Err(BindError::InUse { .. })));
        drop(first);
        assert!(path.exists());
        bind_unix(&path).unwrap();
    }

    #[tokio::test]
    async fn what_is_not_a_socket_stays() {
        let (dir, path) = directory();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_unix(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let error = bind_unix(&dir.path().join("missing/admin.sock")).unwrap_err();
        assert!(matches!(error, BindError::Unix { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_tcp_port_is_taken_once() {
        let bind_tcp =
            |address| bind(&AdminSettings { listen: AdminListen::Tcp(address), token_file: None, tls: None });
        let first = bind_tcp(([127, 0, 0, 1], 0).into()).unwrap();
        let error = bind_tcp(first.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("admin.listen"), "{error}");
    }
}
