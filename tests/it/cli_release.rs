//! The command line against a real proxy: a whole release in one command, what it shows meanwhile, and how it ends.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
};

use tokio::sync::oneshot;
use verdigris::cli::{self, Command, Terminal};

use crate::support::{
    admin::Admin,
    client::{Conn, get},
    config::{Config, Service},
    load::{Kind, Load, assert_no_failures},
    origin::{Origin, Trouble},
    proxy::Proxy,
    wait::{until_true, within},
};

const GOLDEN: &str = r#"{"golden": 1, "timeout": "20s"}
{"name": "get", "request": {"path": "/v2/models/iris/infer"}, "expect": {"json": {"$.colour": "green"}}}
{"name": "post", "request": {"path": "/v2/models/iris/infer", "json": {"inputs": []}}, "expect": {"json": {"$.colour": "green"}}}
"#;

const CLIENTS: &[(Kind, usize)] = &[(Kind::Get, 2), (Kind::Post, 2), (Kind::Sse, 1)];

/// Blue serves, green is empty, and a gate asks two golden requests.
async fn start(blue: &Origin) -> Proxy {
    let mut service = Service::new("iris", &blue.url(), "");
    service.tables = "[service.gate]\ngolden = \"golden.jsonl\"\n".to_owned();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("verdigris.toml"), Config::new(vec![service]).text()).unwrap();
    std::fs::write(dir.path().join("golden.jsonl"), GOLDEN).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    proxy
}

/// What a command has written so far.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A command that runs.
struct Typed {
    words: String,
    out: Written,
    err: Written,
    code: oneshot::Receiver<u8>,
}

impl Typed {
    /// Types `verdigris WORDS…` on a thread of its own.
    fn start(admin: Admin, words: &str) -> Self {
        let url = format!("http://{}", admin.addr);
        let args = cli::parse(["verdigris", "--admin", &url].into_iter().chain(words.split_whitespace()));
        let args = args.unwrap_or_else(|exit| panic!("{}", exit.text));
        let (out, err) = (Written::default(), Written::default());
        let (done, code) = oneshot::channel();
        let (mut to_out, mut to_err) = (out.clone(), err.clone());
        std::thread::spawn(move || {
            let Command::Client(command) = &args.command else { return };
            done.send(cli::run(command, &args.options, &mut to_out, &mut to_err, Terminal::default())).ok();
        });
        Self { words: words.to_owned(), out, err, code }
    }

    async fn says(&self, text: &str) {
        until_true(&format!("{:?} to say {text:?}", self.words), || self.err.text().contains(text)).await;
    }

    /// How it ended, and what it wrote.
    async fn ended(self) -> (u8, String, String) {
        let code = within(&format!("the end of {:?}", self.words), self.code).await.unwrap();
        (code, self.out.text(), self.err.text())
    }
}

async fn typed(admin: Admin, words: &str) -> (u8, String, String) {
    Typed::start(admin, words).ended().await
}

/// A stream on the active slot that has begun; it goes on by `Origin::step`.
async fn stream(proxy: &Proxy, origin: &Origin) -> Conn {
    let mut conn = proxy.conn().await;
    conn.send(&get("/?do=steps&n=2")).await;
    conn.head().await;
    origin.step();
    assert!(conn.event().await.is_some());
    conn
}

/// Waits until golden requests hang at this server.
async fn asked_since(origin: &Origin, before: u64) {
    until_true("a golden request", || origin.shared.hits.load(SeqCst) > before).await;
}

/// The texts stand in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?}, or not in its place, in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

/// The whole release. Fails when: in `cli::commands::deploy`, `release` does not wait for the drain, or a phase is not
/// shown; in `cli::follow`, the drain is not looked at.
#[tokio::test]
async fn a_release_in_one_command_shows_its_phases_and_loses_nothing() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue).await;
    let load = Load::start(proxy.addr, CLIENTS);
    load.more(20).await;
    let mut open = stream(&proxy, &blue).await;
    let words = format!("deploy iris green --endpoint {} --version v2 --switch --wait-drained", green.url());
    let release = Typed::start(proxy.admin, &words);
    // With the load's own there may be more than this one.
    release.says(" in flight (").await;
    assert_eq!(proxy.admin.active("iris").await, "green");
    blue.step();
    assert!(open.event().await.is_some());
    let (code, out, err) = release.ended().await;
    load.more(20).await;
    assert_no_failures(&load.finish().await);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("blue: safe to delete"), "{out}");
    let phases = [
        "iris: green has new contents",
        "green: ready: 1 endpoint",
        "green: readiness passed",
        "green: golden passed",
        "green serves now, generation 3; blue drains",
        "blue: ",
        " in flight (",
    ];
    assert_in_order(&err, &phases);
    let history = proxy.admin.history("iris").await;
    assert_eq!(history.len(), 3, "the gate ran once, and was the switch's: {history:?}");
}

/// Fails when: in `cli::commands::change`, `conclude` calls a drain that is not over done.
#[tokio::test]
async fn a_release_whose_drain_takes_too_long_ends_with_3() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue).await;
    let _open = stream(&proxy, &blue).await;
    let words = format!("deploy iris green --endpoint {} --switch --wait-drained --timeout 200ms", green.url());
    let (code, out, err) = typed(proxy.admin, &words).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("to wait on: verdigris drain iris blue --wait"), "{out}");
    assert_eq!(proxy.admin.active("iris").await, "green");
}

/// P3. Fails when: in `cli::commands::deploy`, a slot whose gate fails is switched to, or the ending is another.
#[tokio::test]
async fn a_release_of_a_wrong_model_is_refused_and_moves_nothing() {
    let (blue, wrong) = (Origin::start("blue").await, Origin::start("pink").await);
    let proxy = start(&blue).await;
    let words = format!("deploy iris green --endpoint {}", wrong.url());
    for (more, reported) in [("--switch", false), ("", true)] {
        let (code, out, err) = typed(proxy.admin, &format!("{words} {more}")).await;
        assert_eq!(code, 2, "{out}{err}");
        assert!(err.contains("green: golden failed") && err.contains("no traffic was moved to it"), "{err}");
        let evidence = if reported { &out } else { &err };
        assert!(evidence.contains("0 of 2 golden requests passed"), "{out}{err}");
        assert_eq!(proxy.admin.active("iris").await, "blue");
    }
    let (_, out, _) = typed(proxy.admin, "history iris --gates").await;
    assert_in_order(&out, &["refused", "golden failed", "0 of 2 golden requests passed"]);
    let (_, out, _) = typed(proxy.admin, "status iris").await;
    assert!(out.contains("gate failed at ") && out.contains(": golden: "), "{out}");
}

/// Fails when: `cancel` does not end the gate of a switch that waits, or the one who waited is not told.
#[tokio::test]
async fn a_switch_that_hangs_is_seen_and_cancelled() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue).await;
    let (code, out, err) = typed(proxy.admin, &format!("deploy iris green --endpoint {}", green.url())).await;
    assert_eq!(code, 0, "{out}{err}");
    green.trouble(Some(Trouble::Hang));
    let before = green.shared.hits.load(SeqCst);
    let hanging = Typed::start(proxy.admin, "switch iris");
    hanging.says("green: readiness passed").await;
    asked_since(&green, before).await;
    let (_, out, _) = typed(proxy.admin, "status iris").await;
    assert_in_order(&out, &["pending:  switch to green", "readiness passed", "golden", "verdigris cancel iris"]);
    assert_eq!(typed(proxy.admin, "switch iris").await.0, 4, "busy");
    let (code, out, err) = typed(proxy.admin, "cancel iris").await;
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = hanging.ended().await;
    assert_eq!(code, 4, "{out}{err}");
    assert_eq!(proxy.admin.active("iris").await, "blue");
    assert_eq!(typed(proxy.admin, "cancel iris").await.0, 2, "there is nothing to cancel");
}

/// Fails when: a dry run moves traffic or asks a server; a switch in the background waits; or `--supersede` does not take
/// the place of what hangs.
#[tokio::test]
async fn trying_and_not_waiting() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = start(&blue).await;
    let (code, ..) = typed(proxy.admin, &format!("deploy iris green --endpoint {}", green.url())).await;
    assert_eq!(code, 0);
    green.trouble(Some(Trouble::Hang));
    let before = green.shared.hits.load(SeqCst);
    let (code, out, err) = typed(proxy.admin, "switch iris --dry-run").await;
    assert_eq!(code, 0, "{out}{err}");
    assert_in_order(&out, &["readiness", "golden", "Open on blue", "Rollback afterwards: to blue"]);
    assert_eq!(green.shared.hits.load(SeqCst), before, "no server was asked");
    let (code, out, err) = typed(proxy.admin, "switch iris --no-wait").await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("verdigris cancel iris"), "{out}");
    asked_since(&green, before).await;
    assert_eq!(proxy.admin.active("iris").await, "blue");
    green.trouble(None);
    let (code, out, err) = typed(proxy.admin, "switch iris --supersede").await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(proxy.admin.active("iris").await, "green");
}
