//! The real binary as a process of its own, for what cannot be seen from inside: signals, exit codes, kill -9.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use tokio::net::TcpStream;

use super::{admin::Admin, client::Conn, config::Config, wait::until};

/// A running process; dropping it kills it.
pub(crate) struct Binary {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Admin,
    child: Child,
}

/// An address that nobody has, and that stays free while who listens on it is down.
pub(crate) fn free_address() -> SocketAddr {
    free_listener().local_addr().unwrap()
}

/// A listener on an address that stays free when it ends: below the range from which outgoing connections take theirs.
/// Runs side by side begin at different places.
pub(crate) fn free_listener() -> TcpListener {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7_919);
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, SeqCst)) % PORTS;
        let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if let Ok(listener) = TcpListener::bind(addr) {
            listener.set_nonblocking(true).unwrap();
            return listener;
        }
    }
}

/// The same configuration with addresses that stay the same over restarts.
pub(crate) fn with_own_addresses(mut config: Config) -> Config {
    config.listen = free_address().to_string();
    config.admin = free_address().to_string();
    config
}

impl Binary {
    /// Starts on a directory; the configuration must have addresses of its own.
    pub(crate) async fn start(dir: &Path, config: &Config) -> Self {
        Self::begin(dir, config, &config.text(), Stdio::null()).await
    }

    /// The same, with all that can be logged in the directory's file `log`.
    pub(crate) async fn traced(dir: &Path, config: &Config) -> Self {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let text = config.text().replace("filter = \"error\"", "filter = \"trace\"");
        Self::begin(dir, config, &text, log.into()).await
    }

    async fn begin(dir: &Path, config: &Config, text: &str, log: Stdio) -> Self {
        let path = dir.join("verdigris.toml");
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_verdigris"));
        command.arg("run").arg("--config").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let address = |text: &str| text.split('"').next().unwrap().parse::<SocketAddr>().unwrap();
        let (addr, admin) = (address(&config.listen), address(&config.admin));
        until("the process to listen", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the process ended: {ended:?}");
            async move {
                TcpStream::connect(admin).await?;
                TcpStream::connect(addr).await.map(drop)
            }
        })
        .await;
        Self { addr, admin: Admin { addr: admin }, child }
    }

    /// A start that must fail on its own: the exit code, and what was said on stderr.
    pub(crate) async fn refused(config: &Path) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verdigris"));
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        // Owned by a value that kills it when dropped: one that starts after all must not outlive the test.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut refused = Self { addr: nowhere, admin: Admin { addr: nowhere }, child };
        let status = refused.exit().await;
        let mut said = String::new();
        refused.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }

    pub(crate) async fn conn(&self) -> Conn {
        Conn::open(self.addr).await
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    pub(crate) fn kill_dash_nine(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        until("the process to exit", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended.ok_or("still runs") }
        })
        .await
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
