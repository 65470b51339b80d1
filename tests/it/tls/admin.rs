//! The admin API over TLS: with the command line, with the token, and with client certificates instead of it.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::support::{
    admin::Admin,
    client::get,
    config::Config,
    origin::Origin,
    proxy::Proxy,
    tls::{Authority, Relay},
};

/// A proxy whose admin API speaks TLS as `localhost`, and only HTTP in clear towards clients.
struct Set {
    ca: Authority,
    proxy: Proxy,
    _origins: [Origin; 2],
}

async fn set(keys: &str, token: Option<&str>) -> Set {
    let origins = [Origin::start("blue").await, Origin::start("green").await];
    let ca = Authority::new("a CA");
    ca.put("admin", &["localhost", "127.0.0.1"]);
    let mut config = Config::pair(&origins[0], &origins[1]);
    config = config.tables(&format!("[admin.tls]\n{}{keys}", ca.keys("admin")));
    let dir = tempfile::tempdir().unwrap();
    if let Some(token) = token {
        config.admin.push_str("\"\ntoken_file = \"token");
        std::fs::write(dir.path().join("token"), token).unwrap();
    }
    std::fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    Set { ca, proxy: Proxy::in_dir(dir).await, _origins: origins }
}

impl Set {
    fn url(&self) -> String {
        format!("https://localhost:{}", self.proxy.admin.addr.port())
    }

    /// Exit code and output of a client command.
    async fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        cli(&self.url(), args).await
    }

    fn trusted<'a>(&self, ca: &'a str) -> [&'a str; 2] {
        ["--ca", ca]
    }

    fn file(&self, name: &str) -> String {
        path(&self.ca.path(name))
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

async fn cli(url: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdigris"));
    command.args(args).args(["--admin", url]).env_remove("VERDIGRIS_CA").env_remove("VERDIGRIS_TOKEN_FILE");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Fails when: the admin API does not speak TLS, or the command line does not; or it trusts somebody it was not told
/// to; or a refusal does not say what to do.
#[tokio::test]
async fn the_command_line_speaks_tls() {
    let set = set("", None).await;
    let ca = set.file("ca.pem");
    let trusted = set.trusted(&ca);
    let (code, said) = set.cli(&[&["status"][..], &trusted].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("iris"), "{said}");
    let (code, said) = set.cli(&[&["switch", "iris", "--force", "--reason", "a test"][..], &trusted].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(set.proxy.once(&get("/")).await.colour(), "green");

    let (code, said) = set.cli(&["status"]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("--ca or VERDIGRIS_CA"), "{said}");
    let other = format!("https://127.0.0.2:{}", set.proxy.admin.addr.port());
    let (code, said) = cli(&other, &[&["status"][..], &trusted].concat()).await;
    assert_eq!(code, Some(5), "{said}");
    let (code, said) = set.cli(&["status", "--ca", &set.file("admin.key")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no certificate in it"), "{said}");
    let plain = set.url().replace("https", "http");
    let (code, said) = cli(&plain, &["status"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("speaks TLS") && said.contains("https://"), "{said}");
    // The other way round: TLS to a port that does not speak it.
    let wrong = format!("https://{}", set.proxy.addr);
    let (code, said) = cli(&wrong, &[&["status"][..], &trusted].concat()).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("does not speak TLS"), "{said}");
}

/// Fails when: a client certificate does not stand for the token, a stranger's does, or the journal has no name.
#[tokio::test]
async fn a_client_certificate_is_an_alternative_to_the_token() {
    let operators = Authority::new("operators");
    operators.put("alice", &["alice"]);
    let strangers = Authority::new("strangers");
    strangers.put("mallory", &["mallory"]);
    for word in ["required", "optional"] {
        let keys = format!("client_ca = \"{}\"\nclient_auth = \"{word}\"", path(&operators.path("ca.pem")));
        let set = set(&keys, Some("s3cret-s3cret-s3cret")).await;
        let ca = set.file("ca.pem");
        let trusted = set.trusted(&ca);
        let alice = [path(&operators.path("alice.pem")), path(&operators.path("alice.key"))];
        let alice = ["--cert", &alice[0], "--key", &alice[1]];
        let (code, said) =
            set.cli(&[&["switch", "iris", "--force", "--reason", "a test"][..], &trusted, &alice].concat()).await;
        assert_eq!(code, Some(0), "{word}: {said}");
        let (code, said) = set.cli(&[&["history", "iris"][..], &trusted, &alice].concat()).await;
        assert_eq!(code, Some(0), "{word}: {said}");
        assert!(said.contains("certificate alice, 127.0.0.1"), "{word}: {said}");

        let mallory = [path(&strangers.path("mallory.pem")), path(&strangers.path("mallory.key"))];
        let mallory = ["--cert", &mallory[0], "--key", &mallory[1]];
        let (code, said) = set.cli(&[&["status"][..], &trusted, &mallory].concat()).await;
        assert_eq!(code, Some(2), "{word}: {said}");
        assert!(said.contains("client certificate"), "{word}: {said}");
        let (code, said) = set.cli(&[&["status"][..], &trusted].concat()).await;
        assert_eq!(code, Some(2), "{word}: {said}");
        let token = path(&set.proxy.dir.path().join("token"));
        let (code, said) = set.cli(&[&["status", "--token-file", &token][..], &trusted].concat()).await;
        let expected = if word == "optional" { 0 } else { 2 };
        assert_eq!(code, Some(expected), "{word}: {said}");
    }
}

/// Fails when: a file that makes the certificate optional opens the admin API to everybody while it runs.
#[tokio::test]
async fn a_reload_does_not_open_the_door() {
    let operators = Authority::new("operators");
    let keys = format!("client_ca = \"{}\"\nclient_auth = \"required\"", path(&operators.path("ca.pem")));
    let set = set(&keys, None).await;
    let certified = set.ca.client().name("localhost").identity(operators.issue(&["alice"]));
    let relay = Relay::start(set.proxy.admin.addr, certified).await;
    let alice = Admin { addr: relay.addr };
    let text = std::fs::read_to_string(set.proxy.config_path()).unwrap().replace("\"required\"", "\"optional\"");
    std::fs::write(set.proxy.config_path(), text).unwrap();
    let reply = alice.call("POST", "/v1/config/reload", None).await;
    assert_eq!((reply.status, &reply.json["needs_restart"]), (200, &json!([])), "{}", reply.text);
    let ca = set.file("ca.pem");
    let (code, said) = set.cli(&["status", "--ca", &ca]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("client certificate"), "{said}");
    assert_eq!(alice.call("GET", "/v1/services", None).await.status, 200);
}
