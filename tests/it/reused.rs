//! The promise P5: what happens to a reused connection to a model server is not the client's problem.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::task::JoinSet;

use crate::support::{
    client::{Conn, get, infer, request},
    config::Config,
    origin::{Origin, Reuse},
    proxy::Proxy,
    wait::until_true,
};

/// Calls that must all succeed, from many connections that pause a little between requests.
async fn calls(proxy: &Proxy, connections: u64, each: u64, bad_every: Option<u64>) {
    let mut tasks = JoinSet::new();
    for client in 0..connections {
        let addr = proxy.addr;
        tasks.spawn(async move {
            let mut conn = Conn::open(addr).await;
            for round in 0..each {
                if bad_every.is_some_and(|every| round % every == 0) {
                    assert_eq!(conn.call(&infer("?code=500&then=close", b"{\"bad\":1}")).await.status, 500);
                    continue;
                }
                let body = vec![b'x'; usize::try_from((client * 31 + round * 977) % 70_000).unwrap()];
                let request = if round % 2 == 0 { get("/v2/models/iris") } else { infer("", &body) };
                let answer = conn.call(&request).await;
                assert_eq!(
                    answer.status,
                    200,
                    "client {client}, round {round}: {:?} {}",
                    answer.error(),
                    answer.text()
                );
                tokio::time::sleep(Duration::from_millis((client * 7 + round * 13) % 50)).await;
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

/// P5. Fails when: in `proxy::forward`, `after_failure` never permits a replay; in `upstream::body`, a second attempt
/// does not send what was kept of the body.
#[tokio::test]
async fn a_server_that_closes_idle_connections_costs_no_request() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    blue.reuse(Reuse::CloseIdle(5, 50));
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    calls(&proxy, 24, 100, None).await;
    assert!(blue.shared.connections.load(SeqCst) > 100, "the server did close connections");
}

/// P5, the race itself, made certain: the server closes as the request comes. Fails when: in `proxy::forward`,
/// `after_failure` never permits a replay, or `run` takes a pooled connection for it, which may be just as dead; in
/// `upstream::body`, a second attempt does not send what was kept of the body.
#[tokio::test]
async fn a_connection_that_dies_under_a_request_costs_nothing() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    // Every third, and then every one: the whole pool dead at once.
    for every in [3, 1] {
        blue.reuse(Reuse::DropEvery(every));
        calls(&proxy, 8, 60, None).await;
    }
    assert!(proxy.metric("verdigris_replays_total", &["slot=\"blue\""]).await > 50.0, "{}", proxy.metrics().await);
}

/// P5 where nothing may be replayed: a connection that the server has closed is not used again. Two nets hold this, so
/// it fails when both are cut: in `upstream::pool::h1`, `take` does not look whether a connection is closed, and in
/// `proxy::forward`, `after_failure` does not send again what was surely not sent.
#[tokio::test]
async fn a_connection_that_was_closed_is_not_used_again() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.keys = "replay = \"never\"".into());
    let proxy = Proxy::ready(&config).await;
    let mut conn = proxy.conn().await;
    for round in 0..20 {
        let answer = conn.call(&infer("?then=close", b"{}")).await;
        assert_eq!(answer.status, 200, "round {round}: {:?} {}", answer.error(), answer.text());
        let used = answer.json()["connection"].as_u64().unwrap();
        until_true("the server to close the connection", || blue.has_ended(used)).await;
    }
}

/// P5 where nothing may be replayed: the proxy leaves an idle connection before the server may do so, by its own time
/// or by what the server says of its patience. Fails when: in `upstream::pool::h1`, `take` and `sweep` do not look at
/// the time, or `give_back` does not look at `keep_alive`.
#[tokio::test]
async fn an_idle_connection_is_left_in_time() {
    let patient = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n";
    let hex: String = patient.iter().map(|byte| format!("{byte:02x}")).collect();
    for (idle_timeout, target) in [("20ms", "/".to_owned()), ("1h", format!("/?do=raw&hex={hex}&then=keep"))] {
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        let config = Config::pair(&blue, &green)
            .service(|service| service.tables = format!("[service.pool]\nidle_timeout = \"{idle_timeout}\""));
        let proxy = Proxy::ready(&config).await;
        let mut conn = proxy.conn().await;
        assert_eq!(conn.call(&get(&target)).await.status, 200);
        let used = blue.only_request().connection;
        until_true("the proxy to leave the connection", || blue.has_ended(used)).await;
        assert!(conn.still_serves().await, "the client's own connection lives on");
    }
}

/// P5, uvicorn's way: silent close a moment after a 500. Fails when: in `proxy::forward`, `arrive` calls a connection
/// reusable after a server error.
#[tokio::test]
async fn one_users_bad_request_does_not_cost_the_next_user_theirs() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    blue.shared.recording.store(false, SeqCst);
    let config = Config::pair(&blue, &green).service(|service| service.keys = "replay = \"never\"".into());
    let proxy = Proxy::ready(&config).await;
    calls(&proxy, 16, 60, Some(3)).await;
}

/// Replay is bounded by its policy. Fails when: in `proxy::forward`, `after_failure` permits a replay whenever the
/// connection was reused, whatever the service's `replay` and the path say.
#[tokio::test]
async fn what_must_not_be_sent_twice_is_not() {
    for (replay, target) in [("never", "/v2/models/iris/infer"), ("inference", "/admin/delete-everything")] {
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        let config = Config::pair(&blue, &green).service(|service| service.keys = format!("replay = \"{replay}\""));
        let proxy = Proxy::ready(&config).await;
        let mut conn = proxy.conn().await;
        let first = request("POST", target, "", b"{}");
        assert_eq!(conn.call(&first).await.status, 200);
        // The first request left one connection in the pool of the worker that serves this client.
        let query = request("POST", &format!("{target}?do=close"), "", b"{}");
        let answer = conn.call(&query).await;
        assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_closed")), "{replay}");
        assert_eq!(blue.hits(), 2, "{replay}: sent once each");
    }
}
