//! A file that is wrong, and the very words that say so; and what a right one means.

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
fn the_proxy_and_its_limits_are_checked() {
    for (before, expected) in [
        (
            "[proxy]\nlisten = \"localhost:8080\"",
            "3:10: proxy.listen: \"localhost:8080\" is not an IP address with a port; write \"127.0.0.1:8080\" for this \
             machine only, \"0.0.0.0:8080\" for the network, or \"[::]:8080\" with IPv6",
        ),
        ("[proxy]\nworkers = 1025", "3:11: proxy.workers: 1025 is out of range; write a number from 0 to 1024"),
        ("[proxy]\nworkers = -1", "3:11: proxy.workers: -1 is out of range; write a number from 0 to 1024"),
        ("[proxy]\naccess_log = \"\"", "3:14: proxy.access_log: it is empty; leave the key out for its default"),
        (
            "[proxy.limits]\nheader_timeout = \"0s\"",
            "3:18: proxy.limits.header_timeout: zero makes no sense here; write a duration above zero, such as \"1s\"",
        ),
        (
            "[proxy.limits]\nidle_timeout = 75",
            "3:16: proxy.limits.idle_timeout: the duration 75 has no unit; write \"75s\" for seconds or \"75ms\" for \
             milliseconds",
        ),
        (
            "[proxy.limits]\nidle_timeout = \"soon\"",
            "3:16: proxy.limits.idle_timeout: \"soon\" is not a duration; write a number and a unit, such as \"250ms\", \
             \"30s\" or \"10m\"",
        ),
        (
            "[proxy.limits]\nheader_bytes_max = \"1 KiB\"",
            "3:20: proxy.limits.header_bytes_max: 1 KiB is out of range; write 8 KiB to 16 MiB",
        ),
        (
            "[proxy.limits]\nreplay_buffer_total = -1",
            "3:23: proxy.limits.replay_buffer_total: \"-1\" is not a size; write bytes such as 65536, or a unit such as \
             \"64 KiB\" or \"1 MiB\"",
        ),
        (
            "[proxy.limits]\nheaders_max = 0",
            "3:15: proxy.limits.headers_max: 0 is out of range; write a number from 1 to 10000",
        ),
    ] {
        assert_eq!(problems(&file(before, "", "")), [expected]);
    }
}

#[test]
fn admin_log_and_shutdown_are_checked() {
    for (before, expected) in [
        (
            "[proxy.shutdown]\ndeadline = \"0s\"",
            "3:12: proxy.shutdown.deadline: zero makes no sense here; write \"off\" or a duration above zero",
        ),
        (
            "[proxy.shutdown]\ndelay = \"2 years\"",
            "3:9: proxy.shutdown.delay: \"2 years\" is longer than a year; write at most \"365d\"",
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:9900\"",
            "3:10: admin.listen: 0.0.0.0:9900 is open to the network, and there is no `token_file`; add `token_file` or `tls.client_ca`, or \
             listen on 127.0.0.1 or a unix: socket",
        ),
        (
            "[admin]\nlisten = \"unix:a.sock\"",
            "3:10: admin.listen: \"a.sock\" is not an absolute socket path of at most 107 bytes; write such as \
             \"unix:/run/verdigris.sock\"",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8080\"",
            "3:10: admin.listen: proxy.listen 127.0.0.1:8080 and admin.listen 127.0.0.1:8080 want the same port; give \
             each a port of its own",
        ),
        (
            "[proxy]\nlisten = \"0.0.0.0:9900\"",
            "3:10: proxy.listen: proxy.listen 0.0.0.0:9900 and admin.listen 127.0.0.1:9900 want the same port; give each \
             a port of its own",
        ),
        ("[log]\nformat = \"xml\"", "3:10: log.format: unknown log format \"xml\"; write \"text\" or \"json\""),
        (
            "[log]\nfilter = \"a=loud\"",
            "3:10: log.filter: \"a=loud\" is not a log filter; write a level (error, warn, \
             info, debug, trace) or such as \"info,verdigris::proxy=debug\"",
        ),
    ] {
        assert_eq!(problems(&file(before, "", "")), [expected]);
    }
}

#[test]
fn services_are_checked() {
    for (inside, after, expected) in [
        ("active = \"purple\"", "", "5:10: service[0].active: unknown slot \"purple\"; write \"blue\" or \"green\""),
        (
            "active = \"green\"",
            "",
            "5:10: service[0].active: the active slot green has no endpoints; add `endpoints = \
             [\"http://127.0.0.1:9001\"]` to `[service.green]`",
        ),
        (
            "",
            "[service.blue]\nversion = \"1\"",
            "3:1: service[0]: the active slot blue has no endpoints; add `endpoints = [\"http://127.0.0.1:9001\"]` to \
             `[service.blue]`",
        ),
        (
            "replay = \"always\"",
            "",
            "5:10: service[0].replay: unknown replay policy \"always\"; write \"inference\" or \"reused\" or \
             \"idempotent\" or \"never\"",
        ),
        (
            "",
            "[service.health]\npath = \"ready\"",
            "9:8: service[0].health.path: \"ready\" is not a path; write such as \"/v2/health/ready\"",
        ),
        (
            "",
            "[service.health]\ngrpc = \"v1\"",
            "9:8: service[0].health.grpc: unknown gRPC probe \"v1\"; write \"v2\" or \"health\" or \"connect\"",
        ),
        (
            "",
            "[service.health]\nrise = 0",
            "9:8: service[0].health.rise: 0 is out of range; write a number from 1 to 1000",
        ),
        (
            "",
            "[service.health]\nfall = 0",
            "9:8: service[0].health.fall: 0 is out of range; write a number from 1 to 1000",
        ),
        (
            "",
            "[service.health]\ninterval = \"0s\"",
            "9:12: service[0].health.interval: zero makes no sense here; write a duration above zero, such as \"1s\"",
        ),
        (
            "",
            "[service.gate]\nready = 9\ntimeout = \"10s\"",
            "9:9: service[0].gate.ready: 9 answers, health.interval apart, take longer than gate.timeout allows; ask for fewer, or raise the time-out",
        ),
        (
            "",
            "[service.drain]\ncut_after = \"0s\"",
            "9:13: service[0].drain.cut_after: zero makes no sense here; write \"off\" or a duration above zero",
        ),
        (
            "",
            "[service.green]\nendpoints = [\"http://x:2\"]\nversion = \"zwölf\"",
            "10:11: service[0].green.version: a version is at most 128 plain ASCII characters; write such as \
             \"2026-11-01\" or \"v3\"",
        ),
    ] {
        assert_eq!(problems(&file("", inside, after)).join("\n"), expected, "{inside} {after}");
    }
}

#[test]
fn endpoints_are_checked() {
    for (endpoint, expected) in [
        (
            "\"ftp://h:1\"",
            "endpoints[0]: \"ftp://h:1\" does not begin with http://, https://, h2c://, grpcs:// or unix:; write \
             \"http://h:1\" for HTTP/1.1 or \"h2c://h:1\" for HTTP/2 and gRPC; with TLS \"https://h:1\" or \
             \"grpcs://h:1\"",
        ),
        ("\"http://h:0\"", "endpoints[0]: \"0\" is not a port; a port is a number from 1 to 65535"),
        (
            "\"http://h:1/v2\"",
            "endpoints[0]: an endpoint takes no path or query: \"/v2\"; the request's own path is passed on; \
             `match.path_prefix` picks it",
        ),
        (
            "\"http://me:secret@h:1\"",
            "endpoints[0]: an endpoint takes no user name or password; leave out what stands before the @",
        ),
        ("\"http://:1\"", "endpoints[0]: \":1\" has no host; write such as \"http://127.0.0.1:9001\""),
        (
            "\"h:1\"",
            "endpoints[0]: \"h:1\" does not begin with http://, https://, h2c://, grpcs:// or unix:; write \
             \"http://h:1\" for HTTP/1.1 or \"h2c://h:1\" for HTTP/2 and gRPC; with TLS \"https://h:1\" or \
             \"grpcs://h:1\"",
        ),
        (
            "\"http://x:1\", \"http://X:1/\"",
            "endpoints[1]: x:1 stands in this slot already; write each address once; every endpoint gets the same share",
        ),
        (
            "{}",
            "endpoints[0]: an endpoint needs an address; write a URL, or `http`, `grpc` or both: { http = \"http://…\", \
             grpc = \"h2c://…\" }",
        ),
        (
            "{ http = \"http://x:1\", grpc = \"http://x:2\" }",
            "endpoints[0].grpc: gRPC needs HTTP/2, but \"x:2\" asks for HTTP/1.1; write \"h2c://x:2\", or \"grpcs://x:2\" \
             with TLS",
        ),
    ] {
        let found = problems(&file("", "", &format!("[service.green]\nendpoints = [{endpoint}]")));
        let (_, found) = found[0].split_once("service[0].green.").expect("the key of the endpoint");
        assert_eq!(found, expected);
    }
}

#[test]
fn match_rules_are_checked() {
    for (rule, expected) in [
        ("path_prefix = \"v2\"", "path_prefix: \"v2\" does not begin with a slash; write \"/v2\""),
        (
            "path_prefix = \"/v2/*\"",
            "path_prefix: \"/v2/*\" is not the beginning of a path; write the beginning of a path as it stands in the \
             request, without query or wildcards",
        ),
        ("host = \"h.org:80\"", "host: \"h.org:80\" is not a host; leave out the port: write \"h.org\""),
        ("host = \"*\"", "host: \"*\" is not a host; leave `host` out to take every host"),
        (
            "host = \"http://h\"",
            "host: \"http://h\" is not a host; write such as \"models.example.org\" or \"*.example.org\", without scheme, \
             port or path",
        ),
        ("headers = { \"a b\" = \"x\" }", "headers.\"a b\": \"a b\" is not a header name; write such as \"x-tenant\""),
        (
            "headers = { X-A = \"1\", x-a = \"2\" }",
            "headers.x-a: header \"x-a\" is asked for twice; header names are the same in upper and lower case; write \
             each once",
        ),
        (
            "headers = { a = \"x\\n\" }",
            "headers.a: no request can carry this value; write it as it stands in the request",
        ),
        (
            "headers = { Host = \"x\" }",
            "headers.Host: HTTP/2 requests carry no `host` header; write `host` beside `headers`",
        ),
    ] {
        let found = problems(&file("", &format!("match = {{ {rule} }}"), ""));
        let (_, found) = found[0].split_once("service[0].match.").expect("the key of the rule");
        assert_eq!(found, expected);
    }
}

#[test]
fn services_that_clash_are_told() {
    let text = file("", "", "[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://127.0.0.1:8080\"]");
    let expected = [
        "8:1: service[1]: no request can reach this service: a has the same match; make the two differ in host, \
         path_prefix or headers",
        "8:1: service[1]: endpoint 127.0.0.1:8080 is this proxy itself (proxy.listen is 127.0.0.1:8080); write the model \
         server's address, or listen on another port",
        "9:8: service[1].name: an earlier service is named \"a\" too; give each service a name of its own",
    ];
    assert_eq!(problems(&text), expected);
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
fn a_service_without_a_name_is_told_beside_its_other_problems() {
    let found = problems("version = 1\n[[service]]\nactive = \"purple\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "2:1: service[0]: the service has no name; add such as `name = \"iris\"`");
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
fn port_zero_never_clashes() {
    let both = "[proxy]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"";
    assert_eq!(settings(&file(both, "", "")).proxy.listen.port(), 0);
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

#[test]
fn what_is_said_of_traffic_is_checked() {
    for (table, expected) in [
        (
            "[service.ejection]\nfailures = 0",
            "7:12: service[0].ejection.failures: it is neither a number from 1 to 1000000 nor \"off\"; write a number without quotes, or \"off\"",
        ),
        (
            "[service.retry]\nstatuses = [99]",
            "7:13: service[0].retry.statuses[0]: 99 is not the status of an answer; write numbers from 200 to 599",
        ),
        (
            "[service.balance]\npolicy = \"fast\"",
            "7:10: service[0].balance.policy: unknown balance policy \"fast\"; write \"peak_ewma\" or \"least_in_flight\" or \"round_robin\"",
        ),
        (
            "[service.tls]\ncert = \"c\"",
            "7:8: service[0].tls.cert: TLS needs a certificate and its key: there is no `key`; write `cert = \"fullchain.pem\"` and `key = \"key.pem\"`",
        ),
        (
            "[service.request]\nset = { host = \"x\" }",
            "7:9: service[0].request.set.host: \"host\" is not for editing: it frames the message; write `host` in [service.request]",
        ),
        (
            "[service.request]\nhost = \"u@h\"",
            "7:8: service[0].request.host: \"u@h\" is not a host; write such as \"model.internal\" or \"model.internal:8000\"",
        ),
        (
            "[service.answer]\nadd = { \"a b\" = \"x\" }",
            "7:9: service[0].answer.add.\"a b\": \"a b\" is not a header name; write such as \"x-tenant\"",
        ),
    ] {
        let text =
            format!("version = 1\n[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n{table}\n");
        assert_eq!(problems(&text), [expected]);
    }
}

#[test]
fn the_proxys_tls_and_networks_are_checked() {
    for (before, expected) in [
        (
            "[proxy]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "3:20: proxy.trusted_proxies[0]: \"10.0.0.0/33\" is not a network; write such as \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"",
        ),
        (
            "[proxy.tls]\nkey = \"k\"",
            "2:1: proxy.tls: TLS needs a certificate and its key: there is no `cert`; write `cert = \"fullchain.pem\"` and `key = \"key.pem\"`",
        ),
        (
            "[proxy.tls]\ncert = \"c\"\nkey = \"k\"\nclient_auth = \"required\"",
            "5:15: proxy.tls.client_auth: nobody is named who signs client certificates; add `client_ca`, the file with the certificates that sign your clients'",
        ),
    ] {
        let text =
            format!("version = 1\n{before}\n[[service]]\nname = \"a\"\n[service.blue]\nendpoints = [\"http://h:1\"]\n");
        assert_eq!(problems(&text), [expected]);
    }
}
