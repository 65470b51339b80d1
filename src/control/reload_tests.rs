use std::{
    fs,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{broadcast::Receiver, mpsc},
    task::JoinHandle,
};

use crate::{
    api::{Event, ProblemKind, SwitchRequest},
    config,
    control::{ControllerOptions, Handle, controller::TABLE_KEPT, overview::ServiceView, start},
    ids::Slot,
    net::tls::TlsListeners,
    store::Store,
    table::{self, Reader},
    telemetry::Registry,
    upstream::{Order, Workers},
};

pub(in crate::control) const GOOD: &str =
    "version = 1\n[[service]]\nname = \"iris\"\n[service.blue]\nendpoints = [\"http://127.0.0.1:1\"]\n";

/// A controller without workers that do anything.
pub(in crate::control) struct Control {
    pub(in crate::control) handle: Handle,
    registry: Registry,
    dir: tempfile::TempDir,
    orders: mpsc::Receiver<Order>,
    reader: Reader,
    task: JoinHandle<()>,
}

impl Control {
    pub(in crate::control) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config_path = dir.path().join("verdigris.toml");
        fs::write(&config_path, GOOD).unwrap();
        let (store, recovered) = Store::open(&dir.path().join("state")).unwrap();
        let (inbox, orders) = mpsc::channel(8);
        let registry = Registry::new(1).unwrap();
        let (publisher, reader) = table::pointer();
        let options = ControllerOptions {
            loaded: config::load(&config_path).unwrap(),
            config_path,
            store,
            recovered: recovered.state,
            publisher,
            workers: Workers::new([inbox]),
            registry: registry.clone(),
            tls: TlsListeners::default(),
            taps: Default::default(),
        };
        let (handle, task) = start(options).await.unwrap();
        Self { handle, registry, dir, orders, reader: reader(), task }
    }

    pub(in crate::control) fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    pub(in crate::control) fn path(&self) -> std::path::PathBuf {
        Path::join(self.dir.path(), "verdigris.toml")
    }

    /// Orders to workers are dropped from here on: nobody waits for one to be carried out.
    pub(in crate::control) fn drop_orders(&mut self) {
        let mut orders = std::mem::replace(&mut self.orders, mpsc::channel(1).1);
        tokio::spawn(async move { while orders.recv().await.is_some() {} });
    }

    /// What the watch does when it sees another content; returns when the file was read.
    pub(in crate::control) async fn watched(&self) {
        self.handle.file_changed("file watch".to_owned()).await;
        // The controller takes one message after the other: when it has answered this one, it has read the file.
        let unknown = self.handle.switch("none", SwitchRequest::default(), "test".to_owned()).await;
        assert_eq!(unknown.unwrap_err().error, ProblemKind::NotFound);
    }

    /// Asks for a reload; says whether the file holds.
    pub(in crate::control) async fn asked(&self) -> bool {
        match self.handle.reload("test".to_owned()).await {
            Ok(_) => true,
            Err(problem) => {
                assert_eq!(problem.error, ProblemKind::Invalid);
                assert!(!problem.problems.is_empty(), "an answer each time: {problem}");
                false
            }
        }
    }

    pub(in crate::control) fn view(&self, service: &str) -> Arc<ServiceView> {
        let overview = self.handle.inner.overview.borrow().clone();
        overview.services[&service.parse().unwrap()].view()
    }

    fn refusals(&self) -> String {
        let page = self.registry.render();
        let line = page.lines().find(|line| line.starts_with("verdigris_reloads_total{outcome=\"refused\"}"));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
    }
}

pub(in crate::control) fn announced(events: &mut Receiver<Event>) -> Vec<bool> {
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Reload { ok, .. } = event {
            seen.push(ok);
        }
    }
    seen
}

/// Fails when: `refuse_reload` does not look at what it has told already, or looks at it for a reload that was asked
/// for; or `apply` does not forget it.
#[tokio::test]
async fn a_refused_content_is_told_once_however_often_the_watch_finds_it() {
    let control = Control::start().await;
    let mut events = control.handle.events();
    control.write("version = 2\n");
    control.watched().await;
    control.watched().await;
    assert!(!control.asked().await);
    control.watched().await;
    assert!(!control.asked().await);
    assert_eq!(announced(&mut events), [false; 3], "once by the watch, and each time it was asked for");
    assert_eq!(control.refusals(), "3");

    control.write("version = 3\n");
    control.watched().await;
    control.write(GOOD);
    assert!(control.asked().await);
    control.write("version = 3\n");
    control.watched().await;
    control.watched().await;
    control.write(GOOD);
    assert!(control.asked().await);
    assert_eq!(announced(&mut events), [false, true, false, true], "another content, and the same after a good one");
}

/// Fails when: `refuse_reload` takes a file that cannot be read for one it knows, or tells it at each look.
#[tokio::test]
async fn a_file_that_is_away_is_told_once() {
    let control = Control::start().await;
    let mut events = control.handle.events();
    fs::remove_file(control.path()).unwrap();
    control.watched().await;
    control.watched().await;
    control.write(GOOD);
    assert!(control.asked().await);
    assert_eq!(announced(&mut events), [false, true]);
}

/// Fails when: `readiness` does not look whether each worker still takes orders.
#[tokio::test]
async fn a_proxy_that_has_lost_a_worker_is_not_ready() {
    let Control { handle, orders, .. } = Control::start().await;
    assert_eq!(handle.readiness(), Ok(()));
    drop(orders);
    let why = handle.readiness().unwrap_err();
    assert!(why.contains("1 of 1 workers"), "{why}");
}

/// Fails when: `readiness` does not look whether the controller still takes messages.
#[tokio::test]
async fn a_proxy_that_has_lost_its_controller_is_not_ready() {
    let Control { handle, task, orders: _orders, .. } = Control::start().await;
    assert_eq!(handle.readiness(), Ok(()));
    handle.stop().await;
    task.await.unwrap();
    let why = handle.readiness().unwrap_err();
    assert!(why.contains("control plane ended"), "{why}");
}

/// Fails when: `read` takes no notice of `known`; or `next_reload` passes it on for a reload that was asked for, or after a
/// refusal.
#[tokio::test]
async fn the_watch_does_not_apply_again_what_somebody_had_applied_before() {
    let control = Control::start().await;
    let mut events = control.handle.events();
    control.write(&GOOD.replace(":1", ":2"));
    assert!(control.asked().await);
    control.watched().await;
    assert_eq!(announced(&mut events), [true]);
    assert!(control.asked().await);
    assert_eq!(announced(&mut events), [true], "files that the file names may be others");
    control.write("version = 2\n");
    control.watched().await;
    control.write(&GOOD.replace(":1", ":2"));
    control.watched().await;
    assert_eq!(announced(&mut events), [false, true], "the refusal is over");
}

/// Among thousands of services a change must cost what it costs among one. Fails when: `carry_out`, `answer` or
/// `publish_change` shows all services.
#[tokio::test]
async fn a_change_of_one_service_does_not_show_the_others_anew() {
    let control = Control::start().await;
    let green = "[service.green]\nendpoints = [\"http://127.0.0.1:2\"]\n";
    let rose = GOOD.replace("version = 1\n", "").replace("\"iris\"", "\"rose\"\nmatch = { path_prefix = \"/rose\" }");
    control.write(&format!("{GOOD}{green}{rose}"));
    assert!(control.asked().await);
    let (iris, rose) = (control.view("iris"), control.view("rose"));
    let request = SwitchRequest {
        to: Some(Slot::Green),
        force: true,
        reason: Some("test".to_owned()),
        ..SwitchRequest::default()
    };
    control.handle.switch("iris", request, "test".to_owned()).await.unwrap();
    assert_eq!((iris.active, control.view("iris").active), (Slot::Blue, Slot::Green));
    assert!(Arc::ptr_eq(&rose, &control.view("rose")));
}

/// Fails when: `publish` does not keep the table that it replaces, or keeps it for ever.
#[tokio::test]
async fn a_replaced_table_is_not_taken_apart_by_a_worker() {
    let mut control = Control::start().await;
    let before: Weak<_> = Arc::downgrade(control.reader.load());
    control.write(&GOOD.replace(":1", ":2"));
    assert!(control.asked().await);
    // What a worker does at its next request: from here on it does not hold the old table.
    control.reader.load();
    assert!(before.upgrade().is_some());
    tokio::time::pause();
    tokio::time::sleep(TABLE_KEPT + Duration::from_millis(1)).await;
    assert!(before.upgrade().is_none());
}
