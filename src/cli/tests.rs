//! Commands from their arguments to their exit code, against a stand-in for the admin API; and the help text.

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use super::{
    Command, Terminal,
    commands::samples,
    fake::{Canned, FakeAdmin, json, text},
    parse, run,
};
use crate::api::{DrainStatus, Problem, ProblemKind, ReloadReply, SwitchRequest, WaitFor};

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

/// Types `verdigris --admin ADMIN WORDS…` with its output in a pipe.
pub(super) fn typed(admin: &str, words: &str) -> Ended {
    typed_at(Terminal::default(), admin, words)
}

/// The same at a terminal.
pub(super) fn typed_at(terminal: Terminal, admin: &str, words: &str) -> Ended {
    let args = ["verdigris", "--admin", admin].into_iter().chain(words.split_whitespace());
    let args = parse(args).unwrap();
    let Command::Client(command) = &args.command else { panic!("not a client command: {words}") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(command, &args.options, &mut out, &mut err, terminal);
    Ended { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The same with one answer laid down; the admin API must be asked exactly once.
pub(super) fn answered(answer: Canned, words: &str) -> Ended {
    let admin = FakeAdmin::start(vec![answer]);
    let ended = typed(&admin.admin, words);
    assert_eq!(admin.lines().len(), 1, "{words}: {:?}", admin.lines());
    ended
}

fn usage(words: &str) -> super::Exit {
    parse(["verdigris"].into_iter().chain(words.split_whitespace())).unwrap_err()
}

#[test]
fn a_switch_says_what_it_wants_and_who_it_is() {
    let admin = FakeAdmin::start(vec![json(200, &samples::switched())]);
    let ended = typed(
        &admin.admin,
        "switch iris --to green --if-generation 7 --force --reason weekly --wait-drained --timeout 90s --json",
    );
    let asked = &admin.asked()[0];
    assert_eq!(asked.line, "POST /v1/services/iris/switch");
    assert_eq!(
        serde_json::from_str::<SwitchRequest>(&asked.body).unwrap(),
        SwitchRequest {
            to: "green".parse().ok(),
            if_generation: Some(7),
            force: true,
            dry_run: false,
            supersede: false,
            reason: Some("weekly".into()),
            wait: Some(WaitFor::Drained),
            timeout: Some("1m 30s".into()),
        }
    );
    assert_eq!(asked.headers["host"], admin.admin.trim_start_matches("http://"));
    assert!(asked.headers["x-verdigris-actor"].to_str().unwrap().starts_with("cli"));
    assert_eq!(asked.headers["content-type"], "application/json");
    assert!(!asked.headers.contains_key("authorization"));
    assert_eq!(ended.code, 3, "blue has not drained");
    assert_eq!(ended.err, "waiting up to 1m 30s for the slot that served before to drain\n");
}

#[test]
fn a_plain_switch_asks_for_nothing_more() {
    let admin = FakeAdmin::start(vec![json(200, &samples::switched())]);
    let ended = typed(&admin.admin, "switch iris");
    assert_eq!(admin.asked()[0].body, r#"{"force":false}"#);
    assert_eq!(ended.code, 0, "nobody asked to wait: {ended:?}");
    assert!(ended.out.starts_with("iris: switched to green, generation 8\nblue: not safe to delete"), "{}", ended.out);
    assert_eq!(ended.err, "");
}

#[test]
fn a_wait_that_ends_too_early_is_3() {
    let mut over = samples::switched();
    over.drain = Some(samples::drained());
    assert_eq!(answered(json(200, &over), "switch iris --wait-drained").code, 0);
    assert_eq!(answered(json(202, &over), "switch iris --wait-drained").code, 3, "202 means under way");
    assert_eq!(answered(json(202, &samples::switched()), "rollback iris --wait-drained").code, 3);
}

#[test]
fn a_rollback_has_its_own_path() {
    let admin = FakeAdmin::start(vec![json(200, &samples::switched())]);
    assert_eq!(typed(&admin.admin, "rollback iris --reason worse").code, 0);
    assert_eq!(admin.lines(), ["POST /v1/services/iris/rollback"]);
    assert_eq!(admin.asked()[0].body, r#"{"force":false,"reason":"worse"}"#);
}

#[test]
fn every_refusal_has_its_code() {
    for (kind, code) in [
        (ProblemKind::Unauthorized, 2),
        (ProblemKind::Forbidden, 2),
        (ProblemKind::NotFound, 2),
        (ProblemKind::MethodNotAllowed, 1),
        (ProblemKind::Refused, 2),
        (ProblemKind::Busy, 4),
        (ProblemKind::GenerationDiffers, 4),
        (ProblemKind::TooLarge, 2),
        (ProblemKind::Invalid, 2),
        (ProblemKind::Internal, 1),
        (ProblemKind::ShuttingDown, 1),
    ] {
        let problem = Problem::new(kind, "it cannot be").hint("do this");
        let ended = answered(json(kind.status(), &problem), "switch iris");
        assert_eq!(ended.code, code, "{kind:?}");
        assert_eq!(ended.out, "");
        assert!(ended.err.contains("it cannot be\nhint: do this\n"), "{}", ended.err);
    }
}

#[test]
fn json_is_the_document_as_it_came() {
    let spaced = r#"{ "entries": [], "unknown":  1 }"#;
    assert_eq!(answered(text(200, spaced), "history iris --json").out, format!("{spaced}\n"));
    let problem = Problem::new(ProblemKind::NotFound, "there is no service iris");
    let ended = answered(json(404, &problem), "--json status iris");
    assert_eq!(ended.out, format!("{}\n", serde_json::to_string(&problem).unwrap()));
    assert_eq!((ended.code, ended.err.as_str()), (2, "refused: there is no service iris\n"));
}

#[test]
fn status_asks_for_all_or_one() {
    let services = samples::services();
    let admin = FakeAdmin::start(vec![json(200, &services), json(200, &services.services[0])]);
    let (all, one) = (typed(&admin.admin, "status"), typed(&admin.admin, "status iris"));
    assert_eq!((all.code, one.code), (0, 0));
    assert_eq!(admin.lines(), ["GET /v1/services", "GET /v1/services/iris"]);
    assert!(all.out.starts_with("SERVICE ") && one.out.starts_with("iris: green is active"), "{all:?} {one:?}");
}

#[test]
fn history_has_a_limit() {
    let admin = FakeAdmin::start(vec![json(200, &samples::history()), json(200, &samples::history())]);
    assert_eq!(typed(&admin.admin, "history iris").code, 0);
    assert_eq!(typed(&admin.admin, "history iris --limit 3").code, 0);
    let path = "GET /v1/services/iris/history?limit=";
    assert_eq!(admin.lines(), [format!("{path}20"), format!("{path}3")]);
}

#[test]
fn a_test_that_fails_is_2() {
    assert_eq!(answered(json(200, &samples::tested(true)), "test iris green").code, 0);
    let ended = answered(json(200, &samples::tested(false)), "test iris green");
    assert_eq!(ended.code, 2);
    assert!(ended.out.contains("the gate of green failed\n  readiness failed"), "{}", ended.out);
}

#[test]
fn a_reload_shows_changes_or_every_problem() {
    let reply = ReloadReply { changes: vec!["iris: version".into()], needs_restart: vec![] };
    assert_eq!(answered(json(200, &reply), "reload").out, "The config file was read:\n  iris: version\n");
    let mut problem = Problem::new(ProblemKind::Invalid, "the config file is refused");
    problem.problems = vec!["c.toml:1:1: a".into(), "c.toml:2:1: b".into()];
    let ended = answered(json(422, &problem), "reload");
    assert_eq!(ended.code, 2);
    assert_eq!(ended.err, "refused: the config file is refused\n  c.toml:1:1: a\n  c.toml:2:1: b\n");
}

#[test]
fn a_drain_is_safe_or_3() {
    let admin = FakeAdmin::start(vec![json(200, &samples::drained()), json(200, &samples::draining())]);
    assert_eq!(typed(&admin.admin, "drain iris blue").code, 0);
    assert_eq!(typed(&admin.admin, "drain iris blue").code, 3);
    assert_eq!(admin.lines()[0], "GET /v1/services/iris/slots/blue/drain");
}

#[test]
fn a_drain_waits_round_by_round() {
    let round = || json(200, &samples::draining());
    let admin = FakeAdmin::start(vec![round(), round(), json(200, &samples::drained())]);
    let ended = typed(&admin.admin, "drain iris blue --wait");
    let path = "GET /v1/services/iris/slots/blue/drain";
    assert_eq!(admin.lines(), [path.to_owned(), format!("{path}?wait=30s"), format!("{path}?wait=30s")]);
    assert_eq!(ended.code, 0);
    assert_eq!(ended.err, "blue: waiting: 2 requests still running\n", "said once");
}

/// Fails when: in `commands::drain`, `wait` goes on for a slot that serves on.
#[test]
fn waiting_for_the_active_slot_is_refused_at_once() {
    let serving = DrainStatus { serves_on: true, why: "the slot is active".into(), ..DrainStatus::default() };
    let admin = FakeAdmin::start(vec![json(200, &samples::draining()), json(200, &serving), json(200, &serving)]);
    let ended = typed(&admin.admin, "drain iris blue --wait");
    assert_eq!((ended.code, admin.lines().len()), (2, 2), "{ended:?}");
    assert!(ended.err.contains("slot blue of service iris is active"), "{}", ended.err);
    assert_eq!(typed(&admin.admin, "drain iris blue").code, 3, "only to wait is in vain");
}

/// Fails when: in `commands::drain`, `wait` goes on for a slot that drains only when it is emptied.
#[test]
fn waiting_for_a_slot_that_takes_previews_is_refused_at_once() {
    let standby = DrainStatus { takes_previews: true, why: "previews may reach it".into(), ..DrainStatus::default() };
    let admin = FakeAdmin::start(vec![json(200, &standby)]);
    let ended = typed(&admin.admin, "drain iris green --wait");
    assert_eq!((ended.code, admin.lines().len()), (2, 1), "{ended:?}");
    assert!(ended.err.contains("takes previews") && ended.err.contains("empty the slot first"), "{}", ended.err);
}

#[test]
fn a_drain_that_takes_too_long_is_3() {
    let admin = FakeAdmin::start(vec![json(200, &samples::draining()), json(200, &samples::draining())]);
    let ended = typed(&admin.admin, "drain iris blue --wait --timeout 1ms");
    assert_eq!(ended.code, 3);
    assert!(ended.out.starts_with("blue: not safe to delete"), "{ended:?}");
    assert!(admin.lines().iter().all(|line| line.starts_with("GET")), "waiting cuts nothing: {:?}", admin.lines());
}

#[test]
fn cutting_is_asked_for_and_then_waited_for() {
    let cut = DrainStatus { cut: 2, ..samples::drained() };
    let admin = FakeAdmin::start(vec![json(202, &samples::draining()), json(200, &cut)]);
    let ended = typed(&admin.admin, "drain iris blue --cut-after 0s --wait");
    assert_eq!(admin.lines()[0], "POST /v1/services/iris/slots/blue/drain");
    assert_eq!(admin.asked()[0].body, r#"{"cut_after":"0s"}"#);
    assert_eq!(ended.code, 0);
    assert!(ended.out.ends_with("; 2 cut\n"), "{}", ended.out);
}

#[test]
fn a_deployment_that_cannot_be_meant_asks_for_nothing() {
    let admin = FakeAdmin::start(vec![]);
    for words in ["--endpoint http://b:1 --grpc h2c://a:2", "--wait-drained"] {
        assert_eq!(
            typed(&admin.admin, &format!("deploy iris green --endpoint http://a:1 {words}")).code,
            64,
            "{words}"
        );
    }
    assert_eq!(admin.lines(), [""; 0]);
}

#[test]
fn an_admin_api_that_is_not_there_is_5() {
    // Bound but not listening: nobody else can get the port, and the kernel refuses.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let free = deaf.local_addr().unwrap().as_socket().unwrap();
    let ended = typed(&format!("http://{free}"), "status");
    assert_eq!(ended.code, 5);
    assert_eq!(
        ended.err,
        format!(
            "error: cannot reach the admin API at http://{free}: connection refused; is verdigris running? start it \
             with `verdigris run --config FILE`, or point --admin at it\n"
        )
    );
    let ended = typed("unix:/nowhere/verdigris.sock", "status");
    assert_eq!(ended.code, 5);
    assert!(ended.err.contains("unix:/nowhere/verdigris.sock: there is no such socket;"), "{}", ended.err);
}

#[test]
fn a_connection_that_breaks_is_not_called_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    // Once for the events, once for the switch.
    let closing = std::thread::spawn(move || (0..2).for_each(|_| drop(listener.accept().unwrap())));
    let ended = typed(&admin, "switch iris");
    closing.join().unwrap();
    assert_eq!(ended.code, 1, "the switch may have happened: {ended:?}");
    assert!(ended.err.contains("may have happened"), "{}", ended.err);
}

#[test]
fn an_answer_from_elsewhere_is_said_to_be_foreign() {
    for (status, code) in [(200, 1), (404, 2), (409, 2), (412, 4), (502, 1)] {
        let ended = answered(text(status, "<html>"), "status");
        assert_eq!(ended.code, code, "{status}");
        assert!(ended.err.contains(&format!("answered {status} with something")), "{}", ended.err);
    }
}

#[test]
fn a_unix_socket_and_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let admin = FakeAdmin::start_unix(&dir.path().join("admin.sock"), vec![json(200, &samples::services())]);
    let ended = typed(&admin.admin, &format!("status --token-file {}", token.display()));
    assert_eq!(ended.code, 0, "{ended:?}");
    let headers = &admin.asked()[0].headers;
    assert_eq!(
        (&headers["authorization"], &headers["host"]),
        (&"Bearer s3cret".parse().unwrap(), &"localhost".parse().unwrap())
    );

    let ended = typed(&admin.admin, &format!("status --token-file {}/none", dir.path().display()));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("cannot read the token file"), "{}", ended.err);
    assert_eq!(admin.lines().len(), 1, "nothing is asked without the token");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    struct Gone(io::ErrorKind);
    impl Write for Gone {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, code) in [(io::ErrorKind::BrokenPipe, 0), (io::ErrorKind::StorageFull, 1)] {
        let admin = FakeAdmin::start(vec![json(200, &samples::services())]);
        let args = parse(["verdigris", "status", "--admin", &admin.admin]).unwrap();
        let Command::Client(command) = &args.command else { panic!("status is a client command") };
        assert_eq!(
            run(command, &args.options, &mut Gone(kind), &mut Vec::new(), Terminal::default()),
            code,
            "{kind:?}"
        );
    }
}

#[test]
fn nonsense_is_64() {
    for words in [
        "",
        "frobnicate",
        "switch",
        "switch a/b",
        "switch iris --to purple",
        "switch iris --timeout 10m",
        "switch iris --no-wait --wait-drained",
        "switch iris --no-wait --wait",
        "switch iris --dry-run --no-wait",
        "rollback iris --dry-run",
        "cancel",
        "switch iris --wait-drained --timeout soon",
        "drain iris blue --timeout 1m",
        "deploy iris green",
        "run",
        "status --admin 127.0.0.1:9900",
    ] {
        let exit = usage(words);
        assert_eq!(u8::from(exit.code), 64, "{words}");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(exit.tell(&mut out, &mut err), 64);
        assert!(out.is_empty() && !err.is_empty(), "{words}");
    }
}

#[test]
fn help_and_version_are_answers() {
    for words in ["--help", "--version", "switch --help", "help drain"] {
        let exit = usage(words);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(exit.tell(&mut out, &mut err), 0, "{words}");
        assert!(!out.is_empty() && err.is_empty(), "{words}");
    }
    assert_eq!(usage("--version").text, format!("verdigris {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_the_app_carries_out_is_parsed() {
    let of = |words: &str| parse(["verdigris"].into_iter().chain(words.split_whitespace())).unwrap().command;
    assert!(matches!(of("run --config c.toml"), Command::Run(args) if args.config.as_os_str() == "c.toml"));
    assert!(matches!(of("check --config c.toml"), Command::Check(args) if args.config.as_os_str() == "c.toml"));
    assert!(matches!(of("demo --script"), Command::Demo(args) if args.script));
    assert!(matches!(of("demo"), Command::Demo(args) if !args.script));
}

/// `UPDATE=1 cargo test` writes the file anew; review the difference.
#[test]
fn the_help_text_is_known() {
    let pages = [
        "",
        "run",
        "check",
        "golden",
        "golden check",
        "golden record",
        "demo",
        "status",
        "switch",
        "rollback",
        "cancel",
        "drain",
        "history",
        "test",
        "deploy",
        "reload",
    ];
    let help: Vec<_> = pages
        .iter()
        .map(|page| {
            format!("$ verdigris {page} --help\n{}", usage(&format!("{page} --help")).text)
                .replace("  --help\n", " --help\n")
        })
        .collect();
    let help = help.join("\n");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/help.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &help).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(help, known, "the help text is another; if that is meant: UPDATE=1 cargo test");
}
