//! The proxy under test: started in this process from a file in a directory of its own, on port 0.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use verdigris::app::{Options, Running, start};

use super::{
    admin::Admin,
    client::{Answer, Conn, once},
    config::Config,
    wait::within,
};

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Admin,
    pub(crate) dir: TempDir,
    running: Option<Running>,
}

impl Proxy {
    pub(crate) async fn start(config: &Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
        Self::in_dir(dir).await
    }

    /// Starts, and waits until every endpoint of every service was found healthy.
    pub(crate) async fn ready(config: &Config) -> Self {
        let proxy = Self::start(config).await;
        for service in &config.services {
            proxy.admin.until_healthy(&service.name).await;
        }
        proxy
    }

    pub(crate) async fn in_dir(dir: TempDir) -> Self {
        let path = dir.path().join("verdigris.toml");
        let running = blocking(move || start(Options::new(path))).await;
        let running = running.unwrap_or_else(|bad| panic!("the proxy does not start: {bad:?}"));
        let (addr, admin) = (running.proxy_addr(), Admin { addr: running.admin_addr() });
        Self { addr, admin, dir, running: Some(running) }
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.path().join("verdigris.toml")
    }

    pub(crate) async fn conn(&self) -> Conn {
        Conn::open(self.addr).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn once(&self, request: &[u8]) -> Answer {
        once(self.addr, request).await
    }

    /// The metrics page.
    pub(crate) async fn metrics(&self) -> String {
        self.admin.call("GET", "/metrics", None).await.text
    }

    /// The sum of all series of a metric whose labels contain each of these texts.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics().await;
        let series =
            page.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub(crate) fn begin_shutdown(&self) {
        self.running.as_ref().unwrap().begin_shutdown();
    }

    /// Waits for the end after `begin_shutdown`; gives the directory back.
    pub(crate) async fn ended(mut self) -> TempDir {
        let running = self.running.take().unwrap();
        within("the proxy's end", blocking(move || running.join())).await;
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Stops and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.begin_shutdown();
        Self::in_dir(self.ended().await).await
    }

    pub(crate) async fn switch(&self, to: &str) -> Value {
        self.admin.switch("iris", json!({ "to": to })).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Ending it may block, which a thread of the test's runtime must not.
        if let Some(running) = self.running.take() {
            std::thread::spawn(move || drop(running)).join().ok();
        }
    }
}

/// Runs what blocks on a thread that belongs to no runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(work()).ok());
    result.await.unwrap()
}
