use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
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
    upstream::{Endpoint, Order, TlsClient, Workers},
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

const GREEN: &str = "[service.green]\nendpoints = [\"http://127.0.0.1:2\"]\n";

fn forced(to: Slot) -> SwitchRequest {
    SwitchRequest { to: Some(to), force: true, reason: Some("test".to_owned()), ..SwitchRequest::default() }
}

/// A pipe where the state is to be written, so that writing it waits until the pipe is opened at its other name.
fn hold_saving(state: &Path) -> std::path::PathBuf {
    let (written, read) = (state.join("state.json.tmp"), state.join("held"));
    assert!(std::process::Command::new("mkfifo").arg(&written).status().unwrap().success());
    fs::hard_link(&written, &read).unwrap();
    read
}

/// Lets a save that waits fail, and the next one succeed, while the file that is returned lives.
fn let_go(held: &Path) -> fs::File {
    let nonblocking = 0o4000; // O_NONBLOCK: perhaps nobody waits.
    let reading = fs::File::options().read(true).custom_flags(nonblocking).open(held).unwrap();
    fs::remove_file(held.with_file_name("state.json.tmp")).unwrap();
    reading
}

/// Among thousands of services the state is long. Fails when: `publish_change` waits for the state to be saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_does_not_wait_for_the_state_file() {
    let control = Control::start().await;
    control.write(&format!("{GOOD}{GREEN}"));
    assert!(control.asked().await);
    let state = control.dir.path().join("state");
    let held = hold_saving(&state);
    let switched = control.handle.switch("iris", forced(Slot::Green), "test".to_owned());
    let reply = tokio::time::timeout(Duration::from_secs(5), switched).await;
    let _open = let_go(&held);
    assert_eq!(reply.expect("an answer").unwrap().active, Slot::Green);
    control.handle.stop().await;
    let copy = tempfile::tempdir().unwrap();
    fs::copy(state.join("state.json"), copy.path().join("state.json")).unwrap();
    let (_, saved) = Store::open(copy.path()).unwrap();
    assert_eq!(saved.state.unwrap().services[&"iris".parse().unwrap()].active, Slot::Green, "saved before the end");
}

/// Fails when: `apply` saves before it publishes, or answers before it has saved: the journal does not know what the file
/// said.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_published_then_saved_then_answered() {
    let mut control = Control::start().await;
    let held = hold_saving(&control.dir.path().join("state"));
    control.write(&format!("{GOOD}version = \"new\"\n"));
    let handle = control.handle.clone();
    let reload = tokio::spawn(async move { handle.reload("test".to_owned()).await });
    let reader = &mut control.reader;
    let published = async {
        while reader.load().services[0].slots.blue.version.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let published = tokio::time::timeout(Duration::from_secs(5), published).await;
    let answered = reload.is_finished();
    let _open = let_go(&held);
    published.expect("the new table");
    assert!(!answered);
    assert_eq!(reload.await.unwrap().unwrap().changes, ["service iris: blue has new contents"]);
}

/// The state file is behind for a moment after each change. Fails when: `store::replay` makes something else of the
/// journal than the books have, or `publish_change` does not note what is to be saved.
#[tokio::test]
async fn the_journal_alone_leads_to_the_same_state() {
    let control = Control::start().await;
    control.write(&format!("{GOOD}{GREEN}"));
    assert!(control.asked().await);
    let (state, before, after) =
        (control.dir.path().join("state"), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(state.join("state.json"), before.path().join("state.json")).unwrap();
    let contents = |port: u16| crate::api::SlotUpdate {
        endpoints: vec![crate::api::EndpointSpec::Url(format!("http://127.0.0.1:{port}"))],
        version: Some(format!("v{port}")),
        if_generation: None,
        force: true,
        supersede: false,
        reason: Some("test".to_owned()),
    };
    let actor = || "test".to_owned();
    for step in 0..6 {
        let to = if step % 2 == 0 { Slot::Green } else { Slot::Blue };
        if step % 3 == 0 {
            control.handle.replace_slot("iris", to, contents(10 + step), actor()).await.unwrap();
        }
        control.handle.switch("iris", forced(to), actor()).await.unwrap();
        if step == 4 {
            let request = crate::api::RollbackRequest { force: true, reason: Some(actor()), ..Default::default() };
            control.handle.rollback("iris", request, actor()).await.unwrap();
        }
    }
    control.handle.stop().await;
    fs::copy(state.join("state.json"), after.path().join("state.json")).unwrap();
    fs::copy(state.join("journal.jsonl"), before.path().join("journal.jsonl")).unwrap();
    let recovered = |dir: &Path| Store::open(dir).unwrap().1.state.unwrap();
    assert_eq!(recovered(before.path()), recovered(after.path()));
}

/// Fails when: `is_as_before` takes nothing for the same, or `show_some` shows more than it is told to.
#[tokio::test]
async fn a_reload_leaves_services_alone_that_it_does_not_change() {
    let mut control = Control::start().await;
    let rose = GOOD.replace("version = 1\n", "").replace("\"iris\"", "\"rose\"\nmatch = { path_prefix = \"/rose\" }");
    control.write(&format!("{GOOD}{rose}"));
    assert!(control.asked().await);
    let (iris, rose_then) = (control.view("iris"), control.view("rose"));
    let table = control.reader.load().clone();
    control.write(&format!("# Written otherwise.\n{GOOD}{rose}version = \"new\"\n"));
    assert!(control.asked().await);
    assert!(Arc::ptr_eq(&iris, &control.view("iris")) && !Arc::ptr_eq(&rose_then, &control.view("rose")));
    let new = control.reader.load();
    assert!(Arc::ptr_eq(&table.services[0], &new.services[0]) && !Arc::ptr_eq(&table.services[1], &new.services[1]));
    assert!(table.services[1].slots.blue.tenure.is_retired() && !table.services[0].slots.blue.tenure.is_retired());
    control.write(GOOD);
    assert!(control.asked().await);
    assert_eq!(control.handle.list().await.services.len(), 1);
}

/// Fails when: `kept_or_new` forgets an endpoint that is known, with its health and pools, or mixes up their order.
#[test]
fn a_gate_asks_endpoints_that_are_known_as_they_are() {
    let endpoint = |port: u16| crate::config::EndpointSettings::from_url(&format!("http://127.0.0.1:{port}")).unwrap();
    let known: Vec<_> = [1, 2].map(|port| Arc::new(Endpoint::new(&endpoint(port)))).into();
    let wanted = [2, 3, 1].map(endpoint);
    let kept = super::kept_or_new(&known, &wanted, &TlsClient::plain());
    assert_eq!(kept.iter().map(|one| one.settings.clone()).collect::<Vec<_>>(), wanted);
    assert!(Arc::ptr_eq(&kept[0], &known[1]) && Arc::ptr_eq(&kept[2], &known[0]));
}
