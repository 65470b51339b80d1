//! A file that is wrong, and the very words that say so.

use super::*;

/// The problems of a text, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let problems = parse(text, "config.toml").expect_err("it must be refused");
    problems.lines().iter().map(|line| line.trim_start_matches("config.toml:").to_owned()).collect()
}

#[test]
fn dump() {
    for text in [
        "",
        "# only words\n",
        "version = 2\nx = 1",
        "version = \"1\"",
        "version = 1\n",
        "version = 1\nx = [",
        "version = 1\nversion = 1\n",
        "version = 1\n[service]\nname = \"a\"\n",
        "version = 1\nservce = 5\n[proxy]\nlsiten = \"x\"\nworkers = \"many\"\n[proxy.limits]\ncolour = 3\n[proxy.tls]\ncert = \"x\"\n[log]\nformat = 5\n[admin]\nlisten = 9900\n",
        "version = 1\nproxy = 3\n",
        "version = 1\n[[service]]\nname = \"a\"\nmatch = { model = \"m\" }\n[service.blue]\nendpoints = [5, { htp = \"x\" }]\nversion = 2026-11-01\n[service.green]\nendpoints = \"http://a\"\n",
        "version = 1\n[[service]]\nname = \"a\"\nactive = \"purple\"\nreplay_buffer = true\n[service.health]\ninterval = 2.5\nmatch.x=1\n",
    ] {
        println!("--- {text:?}");
        for line in problems(text) {
            println!("{line}");
        }
    }
}
