//! State outlives the process: what was acknowledged holds after any kind of end.

use std::fs;

use serde_json::json;

use crate::support::{
    binary::{Binary, with_own_addresses},
    client::{get, once},
    config::Config,
    origin::{Origin, Ready},
    proxy::Proxy,
    wait::until,
};

/// Fails when: in `control::controller`, `save` or `journal` writes nothing; in `control::plan`, `plan` always takes
/// the file's `active`.
#[tokio::test]
async fn what_was_switched_stays_switched() {
    let (blue, green, teal) = (Origin::start("blue").await, Origin::start("green").await, Origin::start("teal").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    proxy.admin.put_slot("iris", "green", json!({"endpoints": [teal.url()], "version": "v3"})).await;
    let reply = proxy.switch("green").await;
    let proxy = proxy.restart().await;
    let answer = proxy.once(&get("/")).await;
    assert_eq!((answer.colour().as_str(), answer.field("x-verdigris-version").as_deref()), ("teal", Some("v3")));
    let status = proxy.admin.status("iris").await;
    assert!(status["generation"].as_u64() >= reply["generation"].as_u64(), "{status}");
    assert!(
        proxy.admin.history("iris").await.iter().any(|entry| entry["action"] == "switch" && entry["to"] == "green")
    );
    proxy.admin.until_healthy("iris").await;
    assert_eq!(proxy.admin.rollback("iris").await["active"], "blue", "and the way back is still known");
}

/// Fails when: in `control::plan`, `plan` always takes the file's `active`, or never.
#[tokio::test]
async fn the_files_active_wins_only_where_it_was_changed() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green);
    let proxy = Proxy::ready(&config).await;
    proxy.switch("green").await;
    proxy.begin_shutdown();
    let dir = proxy.ended().await;
    fs::write(
        dir.path().join("verdigris.toml"),
        config.clone().service(|service| service.keys = "replay = \"never\"".into()).text(),
    )
    .unwrap();
    let proxy = Proxy::in_dir(dir).await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "green", "the file says what it said before");
    proxy.admin.until_healthy("iris").await;
    proxy.switch("blue").await;
    proxy.begin_shutdown();
    let dir = proxy.ended().await;
    fs::write(dir.path().join("verdigris.toml"), config.service(|service| service.active = "green".into()).text())
        .unwrap();
    let proxy = Proxy::in_dir(dir).await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "green", "the file says something new");
}

/// Fails when: in `upstream::balance`, `pick` takes healthy endpoints only; in `control::controller`, `save` writes
/// nothing.
#[tokio::test]
async fn recorded_targets_serve_before_they_are_probed() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    proxy.switch("green").await;
    green.readiness(Ready::Hang);
    let proxy = proxy.restart().await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
}

/// Fails when: in `control::controller`, `journal` leaves the writing to a task that is not waited for, or in
/// `control::saver`, `now` writes nothing at start, so that there is no record for the journal to bring up to date.
#[tokio::test]
async fn a_killed_process_comes_back_with_the_last_acknowledged_slot() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = with_own_addresses(Config::pair(&blue, &green));
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = ("blue".to_owned(), 0);
    for round in 0..6_u64 {
        let mut proxy = Binary::start(dir.path(), &config).await;
        proxy.admin.until_healthy("iris").await;
        let status = proxy.admin.status("iris").await;
        let (active, generation) = (status["active"].as_str().unwrap(), status["generation"].as_u64().unwrap());
        assert!(generation >= acknowledged.1, "round {round}: {status}");
        // A switch that was under way when the process died may have happened or not; one that was answered has.
        let unanswered = generation > acknowledged.1 && round > 0;
        assert!(active == acknowledged.0 || unanswered, "round {round}: {active} after {acknowledged:?}");
        assert_eq!(once(proxy.addr, &get("/")).await.colour(), active);
        acknowledged = (active.to_owned(), generation);
        let admin = proxy.admin;
        let mut colour = active.to_owned();
        for _ in 0..=round {
            colour = if colour == "blue" { "green".to_owned() } else { "blue".to_owned() };
            let reply = admin.switch("iris", json!({"to": colour})).await;
            acknowledged = (colour.clone(), reply["generation"].as_u64().unwrap());
        }
        if round % 2 == 1 {
            // One more, of which the answer is not waited for.
            let to = if colour == "blue" { "green" } else { "blue" };
            let body = json!({"to": to}).to_string();
            let mut conn = crate::support::client::Conn::open(admin.addr).await;
            let bytes = format!(
                "POST /v1/services/iris/switch HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                admin.addr,
                body.len()
            );
            conn.send(bytes.as_bytes()).await;
        }
        proxy.kill_dash_nine();
    }
}

/// The state file cannot be written while the journal can. Fails when: in `store::replay`, `advanced` does not take over
/// what an entry put into a slot, or in `control::effects`, `write_journal` leaves it out.
#[tokio::test]
async fn what_was_deployed_holds_although_the_state_was_not_saved() {
    let (blue, green, teal) = (Origin::start("blue").await, Origin::start("green").await, Origin::start("teal").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let in_the_way = proxy.dir.path().join("state").join("state.json.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let reply = proxy.admin.put_slot("iris", "green", json!({"endpoints": [teal.url()], "version": "v3"})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let generation = proxy.switch("green").await["generation"].clone();
    assert_eq!(proxy.once(&get("/")).await.colour(), "teal");
    proxy.begin_shutdown();
    let dir = proxy.ended().await;
    fs::remove_dir(&in_the_way).unwrap();
    let proxy = Proxy::in_dir(dir).await;
    let answer = proxy.once(&get("/")).await;
    assert_eq!((answer.colour().as_str(), answer.field("x-verdigris-version").as_deref()), ("teal", Some("v3")));
    assert_eq!(proxy.admin.status("iris").await["generation"], generation);
    proxy.admin.until_healthy("iris").await;
    assert_eq!(proxy.admin.rollback("iris").await["active"], "blue");
}

/// Half a line at the journal's end, as a power cut leaves it. Fails when: in `store::journal::writer`, `open` refuses
/// a torn end, or leaves it where the next line is written.
#[tokio::test]
async fn a_torn_journal_does_not_stop_a_start() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    proxy.switch("green").await;
    proxy.begin_shutdown();
    let dir = proxy.ended().await;
    let mut journals = 0;
    for entry in fs::read_dir(dir.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().contains("journal") {
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend_from_slice(b"{\"at\":\"2026-11-21T08");
            fs::write(&path, bytes).unwrap();
            journals += 1;
        }
    }
    assert!(journals > 0, "the state directory has a journal");
    let proxy = Proxy::in_dir(dir).await;
    assert_eq!(proxy.once(&get("/")).await.colour(), "green");
    proxy.admin.until_healthy("iris").await;
    proxy.switch("blue").await;
    let history = proxy.admin.history("iris").await;
    assert!(history.iter().filter(|entry| entry["action"] == "switch").count() >= 2, "{history:?}");
    until("the journal to be whole", || async { if history.is_empty() { Err("empty") } else { Ok(()) } }).await;
}

/// Fails when: in `store::dir`, `lock` returns the file without `try_lock`, so that two processes write one journal.
#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused_and_told_why() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let dir = tempfile::tempdir().unwrap();
    let config = with_own_addresses(Config::pair(&blue, &green));
    let mut first = Binary::start(dir.path(), &config).await;
    first.admin.until_healthy("iris").await;
    first.admin.switch("iris", json!({"to": "green"})).await;
    let before = first.admin.history("iris").await;

    // Another file with addresses of its own: nothing but the state directory is shared.
    let other = dir.path().join("other.toml");
    fs::write(&other, Config::pair(&blue, &green).text()).unwrap();
    let (code, said) = Binary::refused(&other).await;
    assert_eq!(code, Some(1), "{said}");
    let state = dir.path().join("state");
    for part in ["in use by another verdigris process", state.to_str().unwrap(), "`dir` under [state]"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(once(first.addr, &get("/")).await.colour(), "green");
    assert_eq!(first.admin.history("iris").await, before, "the refused one wrote nothing");

    first.kill_dash_nine();
    let second = Binary::start(dir.path(), &config).await;
    assert_eq!(once(second.addr, &get("/")).await.colour(), "green", "a lock does not outlive its process");
}
