//! Which changes wait for a restart.

use std::fmt::Debug;

use super::settings::{AccessLog, Settings};

/// What of `new` takes effect only after a restart, one line each, such as
/// `proxy.listen: 127.0.0.1:8080 -> 127.0.0.1:8081`. Services never need one.
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let both = [old, new];
    let mut lines = Vec::new();
    let mut note = |key: &str, [old, new]: [String; 2]| {
        if old != new {
            lines.push(format!("{key}: {old} -> {new}"));
        }
    };
    note("proxy.listen", both.map(|s| s.proxy.listen.to_string()));
    note("proxy.workers", both.map(|s| s.proxy.workers.to_string()));
    note("proxy.defer_accept", both.map(|s| s.proxy.defer_accept.to_string()));
    note("proxy.access_log", both.map(|s| access_log(&s.proxy.access_log)));
    note("proxy.limits.connections_max", both.map(|s| words(s.proxy.limits.connections_max)));
    note("proxy.limits.replay_buffer_total", both.map(|s| words(s.proxy.limits.replay_buffer_total)));
    note("proxy.shutdown.delay", both.map(|s| words(s.proxy.shutdown.delay)));
    note("proxy.shutdown.linger", both.map(|s| words(s.proxy.shutdown.linger)));
    note("proxy.shutdown.deadline", both.map(|s| s.proxy.shutdown.deadline.map_or("off".into(), words)));
    note("proxy.tls", both.map(|s| on_or_off(s.proxy.tls.is_some())));
    note("admin.tls", both.map(|s| on_or_off(s.admin.tls.is_some())));
    note("admin.listen", both.map(|s| s.admin.listen.to_string()));
    note("admin.token_file", both.map(|s| s.admin.token_file.as_ref().map_or("none".into(), words)));
    note("state.dir", both.map(|s| s.state_dir.display().to_string()));
    note("log.format", both.map(|s| words(s.log.format).to_lowercase()));
    note("log.filter", both.map(|s| s.log.filter.clone()));
    lines
}

/// Which files there are is followed while it runs.
fn on_or_off(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

fn words(value: impl Debug) -> String {
    format!("{value:?}")
}

fn access_log(to: &AccessLog) -> String {
    match to {
        AccessLog::Off => "off".into(),
        AccessLog::Stdout => "stdout".into(),
        AccessLog::File(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn settings(extra: &str, service: &str) -> Settings {
        let text = format!(
            "version = 1\n{extra}\n[[service]]\nname = \"a\"\n{service}\n[service.blue]\nendpoints = [\"http://h:1\"]\n"
        );
        parse(&text, "/etc/config.toml").unwrap().settings
    }

    #[test]
    fn services_change_while_it_runs() {
        let new = settings("", "match = { host = \"x\" }\nreplay = \"never\"");
        assert_eq!(needs_restart(&settings("", ""), &new), [""; 0]);
    }

    #[test]
    fn everything_else_waits_and_says_what_it_was() {
        for (extra, expected) in [
            ("[proxy]\nlisten = \"127.0.0.1:1\"", "proxy.listen: 127.0.0.1:8080 -> 127.0.0.1:1"),
            ("[proxy]\naccess_log = \"a.log\"", "proxy.access_log: off -> /etc/a.log"),
            ("[proxy.limits]\nconnections_max = 9", "proxy.limits.connections_max: 10000 -> 9"),
            ("[proxy.shutdown]\ndeadline = \"9s\"", "proxy.shutdown.deadline: off -> 9s"),
            ("[admin]\nlisten = \"unix:/a\"", "admin.listen: http://127.0.0.1:9900 -> unix:/a"),
            ("[admin]\ntoken_file = \"t\"", "admin.token_file: none -> \"/etc/t\""),
            ("[proxy.tls]\ncert = \"c\"\nkey = \"k\"", "proxy.tls: off -> on"),
            ("[admin.tls]\ncert = \"c\"\nkey = \"k\"", "admin.tls: off -> on"),
            ("[state]\ndir = \"/var/s\"", "state.dir: /etc/state -> /var/s"),
            ("[log]\nformat = \"json\"", "log.format: text -> json"),
            ("[log]\nfilter = \"debug\"", "log.filter: info -> debug"),
        ] {
            assert_eq!(needs_restart(&settings("", ""), &settings(extra, "")), [expected]);
        }
    }
}
