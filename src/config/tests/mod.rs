//! A file that is wrong, and the very words that say so; and what a right one means.

mod process;
mod services;

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::ids::Slot;

/// The problems of a text, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let problems = parse(text, "config.toml").expect_err("it must be refused");
    problems.lines().iter().map(|line| line.trim_start_matches("config.toml:").to_owned()).collect()
}

fn settings(text: &str) -> Settings {
    parse(text, "/etc/verdigris/config.toml").unwrap_or_else(|problems| panic!("{problems}")).settings
}

/// A right file with a service `a`; `before` stands above it, `inside` in its table, `after` below it.
fn file(before: &str, inside: &str, after: &str) -> String {
    let blue = if after.starts_with("[service.blue]") { "" } else { "[service.blue]\nendpoints = [\"http://h:1\"]\n" };
    format!("version = 1\n{before}\n[[service]]\nname = \"a\"\n{inside}\n{blue}{after}\n")
}

#[test]
fn a_file_that_is_no_configuration_says_so() {
    for (text, expected) in [
        ("", "1:1: the file says nothing; begin it with `version = 1`"),
        ("# only words\n", "1:1: the file says nothing; begin it with `version = 1`"),
        ("[proxy]\nworkers = 2\n", "1:1: `version` is missing; begin it with `version = 1`"),
        (
            "version = 2\nx = 1\n",
            "1:11: version: this program understands only version 1 of the file; write `version = 1`",
        ),
        ("version = 1\n", "1:1: there is no service; add a `[[service]]`, such as the one in config/single.toml"),
        ("version = 1\nx = [", "2:6: unclosed array, expected `]`"),
        ("version = 1\nversion = 1\n", "2:1: duplicate key"),
    ] {
        assert_eq!(problems(text), [expected]);
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_told_all_at_once() {
    let text = r#"version = 1
servce = 5
[proxy]
lsiten = "x"
workers = "many"
[proxy.limits]
colour = 3
[proxy.tls]
crt = "x"
[admin]
listen = 9900
[[service]]
name = "a"
match = { model = "m" }
[service.blue]
endpoints = [5, { htp = "x" }]
version = 2026-11-01
[service.health]
interval = 2.5
"#;
    let expected = [
        "2:1: servce: unknown key `servce`; did you mean `service`?",
        "4:1: proxy.lsiten: unknown key `lsiten`; did you mean `listen`?",
        "5:11: proxy.workers: expected a whole number, found a string",
        "7:1: proxy.limits.colour: unknown key `colour`; known here: header_timeout, idle_timeout, body_timeout, \
         send_timeout, header_bytes_max, headers_max, streams_max, resets_max, connections_max, replay_buffer_total",
        "9:1: proxy.tls.crt: unknown key `crt`; did you mean `cert`?",
        "11:10: admin.listen: expected a string, found an integer; put it in quotes",
        "14:11: service[0].match.model: matching on `model` in a JSON body is not supported by this version; leave it out",
        "16:14: service[0].blue.endpoints[0]: expected a URL or a table with http, grpc or both, found an integer",
        "17:11: service[0].blue.version: expected a string, found a datetime; put it in quotes",
        "19:12: service[0].health.interval: expected a string or a whole number, found a float",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn structures_of_a_wrong_kind_are_told() {
    for (text, expected) in [
        (
            "version = 1\n[service]\nname = \"a\"\n",
            "2:1: service: expected a list, found a table; write `[[service]]` with two brackets on each side",
        ),
        ("version = 1\nproxy = 3\n", "2:9: proxy: expected a table, found an integer"),
        (
            "version = 1\n[[service]]\n[service.green]\nendpoints = \"http://a\"\n",
            "4:13: service[0].green.endpoints: expected a list, found a string; put it in brackets: [ … ]",
        ),
        (
            "version = 1\n[[service]]\n[service.green]\nendpoints = [{ htp = \"a\" }]\n",
            "4:16: service[0].green.endpoints[0].htp: unknown key `htp`; did you mean `http`?",
        ),
    ] {
        assert_eq!(problems(text), [expected]);
    }
}

#[test]
fn rules_that_mean_the_same_are_equal_however_they_are_written() {
    let second =
        "[[service]]\nname = \"b\"\nmatch = { host = \"m.org\", path_prefix = \"/v2\", headers = { x-a = \"1\" } }";
    let first = "match = { host = \"M.Org\", path_prefix = \"/v2/\", headers = { X-A = \"1\" } }";
    let found = problems(&file("", first, &format!("{second}\n[service.blue]\nendpoints = [\"http://x:1\"]")));
    assert!(found[0].contains("no request can reach this service"), "{found:?}");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let warnings = |text: &str| parse(text, "config.toml").unwrap().warnings;
    let pair = "[service.blue]\nendpoints = [{ http = \"http://h:1\", grpc = \"h2c://h:2\" }]\n";
    assert_eq!(
        warnings(&file("", "", &format!("{pair}[service.green]\nendpoints = [\"http://h:1\"]"))),
        [
            "config.toml:3:1: service[0]: h:1 stands in blue and in green, so a switch changes nothing there; give each \
             slot servers of its own",
            "config.toml:3:1: service[0]: without a health path only a TCP connect is checked, which proves little; add \
             `path` to `[service.health]`, such as \"/v2/health/ready\"",
            "config.toml:3:1: service[0]: of gRPC addresses only a TCP connect is checked, which proves little; add \
             `grpc = \"v2\"` or `grpc = \"health\"` to `[service.health]`, or \"connect\" to say it is meant",
        ]
    );
    let asked = "[service.health]\npath = \"/ready\"\ngrpc = \"connect\"";
    assert_eq!(warnings(&file("", "", &format!("{pair}{asked}"))), [""; 0]);
    let buffers = file("[proxy.limits]\nreplay_buffer_total = 10", "replay_buffer = 11", asked);
    assert_eq!(
        warnings(&buffers),
        [
            "config.toml:6:17: service[0].replay_buffer: it is more than proxy.limits.replay_buffer_total (10 bytes); raise \
          the total or lower this; longer bodies go without replay"
        ]
    );
}

#[test]
fn a_right_file_means_what_it_says() {
    let inside = r#"match = { host = "*.Models.org", path_prefix = "/v2/", headers = { X-B = "2", X-A = "1" } }
active = "green"
replay = "never"
replay_buffer = "2 MiB""#;
    let after = r#"[service.green]
endpoints = [{ http = "unix:/run/m.sock", grpc = "h2c://[::1]:5" }]
version = "v2"
[service.timeouts]
first_byte = "off"
[service.drain]
cut_after = "1h""#;
    let settings =
        settings(&file("[proxy]\naccess_log = \"a.log\"\n[admin]\nlisten = \"unix:/run/v.sock\"", inside, after));
    let service = &settings.services[0];
    assert_eq!(settings.proxy.access_log, AccessLog::File(PathBuf::from("/etc/verdigris/a.log")));
    assert_eq!(settings.admin.listen.to_string(), "unix:/run/v.sock");
    assert_eq!(settings.state_dir, PathBuf::from("/etc/verdigris/state"));
    assert!(settings.proxy.workers >= 1);
    assert_eq!(service.rule.host.as_deref(), Some("*.models.org"));
    assert_eq!(service.rule.path_prefix.as_deref(), Some("/v2"));
    assert_eq!(service.rule.headers, [("x-a".into(), "1".into()), ("x-b".into(), "2".into())]);
    assert_eq!((service.active, service.replay, service.replay_buffer), (Slot::Green, ReplayPolicy::Never, 2 << 20));
    assert_eq!(service.slots.green.endpoints[0].to_string(), "unix:/run/m.sock + h2c://[::1]:5");
    assert_eq!(service.slots.green.version.as_deref(), Some("v2"));
    assert_eq!(service.timeouts.first_byte, None);
    assert_eq!(service.drain.cut_after, Some(Duration::from_secs(3600)));
}

#[test]
fn no_text_makes_it_panic() {
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/several.toml")).unwrap();
    for end in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)).step_by(7) {
        if let Err(problems) = parse(&whole[..end], "config.toml") {
            assert!(!problems.render().is_empty());
        }
    }
    let deep = format!("version = 1\nx = {}", "[".repeat(10_000));
    assert!(parse(&deep, "config.toml").is_err());
}
