//! A model server as a process of its own: one that can be killed, stopped and started again on its address.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tokio::net::{TcpListener, TcpStream};

use crate::support::{binary::free_address, grpc_origin::GrpcOrigin, origin::Origin, wait::until};

const VARIABLE: &str = "VERDIGRIS_SOAK_SERVER";

/// Not a test: what the test binary does when [`Server::start`] starts it.
#[test]
fn is_a_process() {
    let Ok(orders) = std::env::var(VARIABLE) else { return };
    let [colour, http, grpc, journal] = orders.splitn(4, ' ').collect::<Vec<_>>().try_into().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listen = async |addr: &str| TcpListener::bind(addr).await.unwrap();
    let _grpc = runtime.block_on(async { GrpcOrigin::on(listen(grpc).await, colour) });
    let origin = runtime.block_on(async { Origin::on(listen(http).await, colour) });
    origin.shared.recording.store(false, std::sync::atomic::Ordering::SeqCst);
    origin.journal(OpenOptions::new().append(true).create(true).open(journal).unwrap());
    for line in io::stdin().lock().lines() {
        origin.close_idle(line.unwrap() == "reset");
    }
}

/// The process, from outside. Dropping it kills it.
pub(super) struct Server {
    colour: &'static str,
    http: SocketAddr,
    grpc: SocketAddr,
    journal: PathBuf,
    child: Option<Child>,
}

/// What became of the requests with an id, by the servers' own word.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) received: u32,
    pub(super) answering: u32,
    pub(super) answered: u32,
}

impl Server {
    pub(super) async fn start(colour: &'static str, dir: &Path) -> Self {
        let journal = dir.join(format!("{colour}.journal"));
        let mut server = Self { colour, http: free_address(), grpc: free_address(), journal, child: None };
        server.restart().await;
        server
    }

    pub(super) fn endpoint(&self) -> String {
        format!("{{ http = \"http://{}\", grpc = \"h2c://{}\" }}", self.http, self.grpc)
    }

    pub(super) async fn restart(&mut self) {
        let orders = format!("{} {} {} {}", self.colour, self.http, self.grpc, self.journal.display());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "soak::server::is_a_process", "--test-threads", "1"]).env(VARIABLE, orders);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        until("the server to listen", || async {
            TcpStream::connect(self.grpc).await?;
            TcpStream::connect(self.http).await.map(drop)
        })
        .await;
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        assert!(Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap().success());
    }

    /// Closes its idle connections, with a reset or without.
    pub(super) fn close_idle(&mut self, reset: bool) {
        let word: &[u8] = if reset { b"reset\n" } else { b"close\n" };
        self.child.as_mut().unwrap().stdin.as_mut().unwrap().write_all(word).unwrap();
    }

    pub(super) fn read_journal(&self, fates: &mut HashMap<String, Fate>) {
        for line in fs::read_to_string(&self.journal).unwrap_or_default().lines() {
            let (what, id) = line.split_once(' ').unwrap();
            let fate = fates.entry(id.to_owned()).or_default();
            match what {
                "R" => fate.received += 1,
                "S" => fate.answering += 1,
                _ => fate.answered += 1,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
