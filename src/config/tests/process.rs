//! What is wrong with what is said of the process: proxy, admin, log, shutdown.

use super::*;

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
fn port_zero_never_clashes() {
    let both = "[proxy]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"";
    assert_eq!(settings(&file(both, "", "")).proxy.listen.port(), 0);
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
