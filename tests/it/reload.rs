//! The configuration file as a writer: every way to save it is noticed, a bad one is refused whole.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use crate::support::{
    binary::{Binary, with_own_addresses},
    client::get,
    config::{Config, Service},
    origin::{Origin, Ready},
    proxy::Proxy,
    wait::until,
};

async fn until_colour(proxy: &Proxy, target: &str, colour: &str) {
    until(&format!("{colour} on {target}"), || async {
        let answer = proxy.once(&get(target)).await;
        let seen = answer.error().unwrap_or_else(|| answer.colour());
        if seen == colour { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn reload_status(proxy: &Proxy) -> Value {
    proxy.admin.list().await["proxy"]["reload"].clone()
}

async fn until_refused(proxy: &Proxy) -> Value {
    until("the file to be refused", || async {
        let status = reload_status(proxy).await;
        if status["ok"] == false { Ok(status) } else { Err(status) }
    })
    .await
}

/// Every way in which editors and `mv` save a file, without a signal. Fails when: in `config::watch::look`, `look`
/// finds nothing; or `renew_watches` watches only the file itself or its own directory and the poll is off.
#[tokio::test]
async fn every_way_to_save_is_noticed() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    let text = |slot: &str| config.clone().service(|service| service.active = slot.to_owned()).text();
    let path = proxy.config_path();
    let aside = proxy.dir.path().join("aside.toml");

    fs::write(&path, text("green")).unwrap();
    until_colour(&proxy, "/", "green").await;
    fs::write(&aside, text("blue")).unwrap();
    fs::rename(&aside, &path).unwrap();
    until_colour(&proxy, "/", "blue").await;
    fs::remove_file(&path).unwrap();
    fs::write(&path, text("green")).unwrap();
    until_colour(&proxy, "/", "green").await;
    fs::write(&aside, text("blue")).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&aside, &path).unwrap();
    until_colour(&proxy, "/", "blue").await;
    fs::write(&aside, text("green")).unwrap();
    until_colour(&proxy, "/", "green").await;
    // A link into another directory, and then the file there is changed and replaced.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target.toml");
    fs::write(&target, text("blue")).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    until_colour(&proxy, "/", "blue").await;
    fs::write(&target, text("green")).unwrap();
    until_colour(&proxy, "/", "green").await;
    fs::write(elsewhere.path().join("new.toml"), text("blue")).unwrap();
    fs::rename(elsewhere.path().join("new.toml"), &target).unwrap();
    until_colour(&proxy, "/", "blue").await;
}

/// A ConfigMap: the file is a link to `..data/FILE`, and `..data` a link that is swapped. Fails when: in
/// `config::watch::look`, `look` finds nothing.
#[tokio::test]
async fn a_swapped_directory_link_is_noticed() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, slot: &str| {
        let text = config.clone().service(|service| service.active = slot.to_owned()).text();
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("verdigris.toml"), text).unwrap();
    };
    version("..1", "blue");
    version("..2", "green");
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink(Path::new("..data").join("verdigris.toml"), dir.path().join("verdigris.toml")).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    proxy.admin.until_healthy("iris").await;
    symlink("..2", proxy.dir.path().join("..data_tmp")).unwrap();
    fs::rename(proxy.dir.path().join("..data_tmp"), proxy.dir.path().join("..data")).unwrap();
    until_colour(&proxy, "/", "green").await;
}

/// Fails when: in `config::watch::look`, `look` finds nothing; in `control::controller`, `journal` writes nothing.
#[tokio::test]
async fn services_come_change_and_go() {
    let (blue, green, teal) = (Origin::start("blue").await, Origin::start("green").await, Origin::start("teal").await);
    let iris = Service::new("iris", &blue.url(), &green.url()).rule("path_prefix = \"/iris\"");
    let rose = Service::new("rose", &teal.url(), "").rule("path_prefix = \"/rose\"");
    let proxy = Proxy::ready(&Config::new(vec![iris.clone()])).await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/rose")).await.error().as_deref(), Some("no_service"));

    fs::write(proxy.config_path(), Config::new(vec![iris.clone(), rose.clone()]).text()).unwrap();
    until_colour(&proxy, "/rose", "teal").await;
    assert_eq!(proxy.admin.history("rose").await[0]["action"], "added");

    let mut changed = iris.clone();
    changed.blue = format!("\"{}\"", teal.url());
    changed.versions.0 = "v-teal".to_owned();
    fs::write(proxy.config_path(), Config::new(vec![changed.clone(), rose]).text()).unwrap();
    until_colour(&proxy, "/iris", "teal").await;
    assert_eq!(proxy.once(&get("/iris")).await.field("x-verdigris-version").as_deref(), Some("v-teal"));

    fs::write(proxy.config_path(), Config::new(vec![changed]).text()).unwrap();
    until_colour(&proxy, "/rose", "no_service").await;
    assert_eq!(proxy.admin.call("GET", "/v1/services/rose", None).await.status, 404);
    assert_eq!(conn.call(&get("/iris")).await.colour(), "teal", "the connection from before lives on");
}

/// Fails when: in `control::reload`, `describe` leaves out what is put into slots, or names the slot that serves for one
/// that stands by.
#[tokio::test]
async fn the_history_says_what_a_file_put_into_slots() {
    let (blue, green, teal) = (Origin::start("blue").await, Origin::start("green").await, Origin::start("teal").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    let added = &proxy.admin.history("iris").await[0];
    assert_eq!(added["contents"][1]["endpoints"], json!([{"http": green.url()}]), "{added}");
    let deployed = config.service(|service| {
        service.green = format!("\"{}\"", teal.url());
        service.versions.1 = "v3".to_owned();
    });
    fs::write(proxy.config_path(), deployed.text()).unwrap();
    assert_eq!(proxy.admin.call("POST", "/v1/config/reload", None).await.status, 200);
    let entry = &proxy.admin.history("iris").await[0];
    let put_in = json!([{"slot": "green", "version": "v3", "endpoints": [{"http": teal.url()}]}]);
    assert_eq!((&entry["action"], &entry["to"], &entry["version"]), (&json!("slot"), &json!("green"), &json!("v3")));
    assert_eq!(entry["contents"], put_in, "{entry}");
}

/// Fails when: in `config::read`, `read` gives the good part of a file that has problems.
#[tokio::test]
async fn a_bad_file_is_refused_whole_and_says_where() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    let green_now = config.clone().service(|service| service.active = "green".to_owned());
    let unknown_key = green_now.clone().service(|service| service.keys = "repaly = \"never\"".to_owned()).text();
    let bad_value = green_now.clone().service(|service| service.keys = "replay = \"sometimes\"".to_owned()).text();
    let not_toml = format!("{}\n[[[", green_now.text());
    for (text, key) in
        [(unknown_key, "repaly"), (bad_value, "replay"), (not_toml, "verdigris.toml"), (String::new(), "version")]
    {
        fs::write(proxy.config_path(), config.text()).unwrap();
        until("the good file", || async {
            let status = reload_status(&proxy).await;
            if status["ok"] == true { Ok(()) } else { Err(status) }
        })
        .await;
        fs::write(proxy.config_path(), &text).unwrap();
        let status = until_refused(&proxy).await;
        let problem = status["problems"][0].as_str().unwrap_or_default().to_owned();
        let line = text.lines().position(|line| line.contains(key) && key != "verdigris.toml");
        assert!(problem.contains("verdigris.toml:") && problem.contains(key), "{problem}");
        if let Some(line) = line.filter(|_| !text.is_empty()) {
            assert!(problem.contains(&format!("verdigris.toml:{}", line + 1)), "{problem}");
        }
        assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
        let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
        assert_eq!((reply.status, &reply.json["error"]), (422, &json!("invalid")), "{}", reply.text);
        assert!(reply.json["problems"][0].as_str().is_some_and(|problem| problem.contains(key)), "{}", reply.text);
        assert_eq!(proxy.metric("verdigris_config_ok", &[]).await, 0.0);
    }
    fs::write(proxy.config_path(), green_now.text()).unwrap();
    until_colour(&proxy, "/", "green").await;
    assert_eq!(reload_status(&proxy).await["ok"], true);
}

/// Fails when: in `control::plan`, `plan` takes the file's `active` although the file says what it said before.
#[tokio::test]
async fn the_same_content_again_does_not_undo_an_api_switch() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    proxy.switch("green").await;
    fs::write(proxy.config_path(), config.text()).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!((reply.status, &reply.json["changes"]), (200, &json!([])), "{}", reply.text);
    assert_eq!(proxy.admin.active("iris").await, "green");

    // Another part of the file changes, `active` says what it said before: still no word about the switch.
    let tuned = config.clone().service(|service| service.tables = "[service.timeouts]\nfirst_byte = \"9s\"".to_owned());
    fs::write(proxy.config_path(), tuned.text()).unwrap();
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(proxy.admin.active("iris").await, "green");
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
}

/// P3 for the file. Fails when: in `control::plan`, `needs_gate` says no; in `checks::readiness`, `readiness` says
/// passed always.
#[tokio::test]
async fn a_file_passes_the_same_gate() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    green.readiness(Ready::Status(503));
    let green_now = config.service(|service| service.active = "green".to_owned());
    fs::write(proxy.config_path(), green_now.text()).unwrap();
    let status = until_refused(&proxy).await;
    assert!(status["problems"][0].as_str().is_some_and(|problem| problem.contains("green")), "{status}");
    assert_eq!(proxy.once(&get("/")).await.colour(), "blue");
    green.readiness(Ready::Status(200));
    let reply = proxy.admin.call("POST", "/v1/config/reload", None).await;
    assert_eq!(reply.status, 200, "a refused file is tried again when asked: {}", reply.text);
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
}

/// What cannot be changed while running is told, and the rest is applied. Fails when: in `config::restart`,
/// `needs_restart` gives no lines; in `control::plan`, `plan` never takes the file's `active`.
#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    let mut other = config.service(|service| service.active = "green".to_owned());
    other.listen = "127.0.0.1:1".to_owned();
    fs::write(proxy.config_path(), other.text()).unwrap();
    until_colour(&proxy, "/", "green").await;
    let status = reload_status(&proxy).await;
    assert!(status["needs_restart"][0].as_str().is_some_and(|text| text.contains("listen")), "{status}");
}

/// Fails when: the log names a change that waits for a restart, but not that it waits.
#[tokio::test]
async fn the_log_says_what_waits_for_a_restart() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let mut config = with_own_addresses(Config::pair(&blue, &green));
    let dir = tempfile::tempdir().unwrap();
    let proxy = Binary::traced(dir.path(), &config).await;
    config.workers = 1;
    fs::write(dir.path().join("verdigris.toml"), config.text()).unwrap();
    assert_eq!(proxy.admin.call("POST", "/v1/config/reload", None).await.status, 200);
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("Takes effect only after a restart: proxy.workers: 2 -> 1"));
}
