//! What is wrong with what is said of services: endpoints, rules, traffic.

use super::*;

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
fn gates_are_checked() {
    for (after, expected) in [
        (
            "[service.gate]\nready = 9\ntimeout = \"10s\"",
            "9:9: service[0].gate.ready: 9 answers, health.interval apart, take longer than gate.timeout allows; ask for fewer, or raise the time-out",
        ),
        (
            "[service.gate]\nwarm_up = \"3m\"",
            "9:11: service[0].gate.warm_up: the warm-up may take longer than the whole gate; write a shorter duration, \
             \"0s\" for no warm-up, or raise gate.timeout",
        ),
        (
            "[service.gate]\nwarm_up_concurrency = 0",
            "9:23: service[0].gate.warm_up_concurrency: 0 is out of range; write a number from 1 to 1024",
        ),
    ] {
        assert_eq!(problems(&file("", "", after)).join("\n"), expected, "{after}");
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
fn a_service_without_a_name_is_told_beside_its_other_problems() {
    let found = problems("version = 1\n[[service]]\nactive = \"purple\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "2:1: service[0]: the service has no name; add such as `name = \"iris\"`");
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
