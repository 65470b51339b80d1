//! What one endpoint cannot do, another does; and a server that is away for a moment is waited for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{
    client::{Answer, get, infer, request},
    config::Config,
    origin::{Origin, Trouble},
    proxy::Proxy,
    wait::{until_true, within},
};

/// Two endpoints in blue, one in green.
async fn trio(tables: &str) -> (Origin, Origin, Origin, Proxy) {
    let (one, two, green) = (Origin::start("one").await, Origin::start("two").await, Origin::start("green").await);
    let config = Config::pair(&one, &green).service(|service| {
        service.blue = format!("\"{}\", \"{}\"", one.url(), two.url());
        service.tables =
            format!("[service.ejection]\nfailures = \"off\"\n[service.balance]\npolicy = \"round_robin\"\n{tables}");
    });
    let proxy = Proxy::ready(&config).await;
    (one, two, green, proxy)
}

async fn answers(proxy: &Proxy, bytes: &[u8], count: usize) -> Vec<Answer> {
    let mut conn = proxy.conn().await;
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(conn.call(bytes).await);
    }
    answers
}

/// Fails when: a 503, a silent close or a hang of one endpoint reaches a client though another endpoint is well.
#[tokio::test]
async fn another_endpoint_answers_for_one_that_cannot() {
    let (one, _two, _green, proxy) = trio("[service.retry]\ntry_timeout = \"200ms\"\nbudget = 1000").await;
    for (trouble, count) in [(Trouble::Status(503), 30), (Trouble::Close, 30), (Trouble::Hang, 4)] {
        one.trouble(Some(trouble));
        let before = one.hits();
        for bytes in [get("/"), infer("", b"{\"inputs\":[]}")] {
            for answer in answers(&proxy, &bytes, count).await {
                assert_eq!((answer.status, answer.colour().as_str()), (200, "two"), "{trouble:?}");
            }
        }
        assert!(one.hits() > before, "{trouble:?}: the one that is not well was asked");
    }
    assert!(proxy.metric("verdigris_retries_total", &[]).await > 10.0);
}

/// Fails when: a request that `replay` does not let be repeated is sent to a second endpoint.
#[tokio::test]
async fn what_may_not_be_repeated_is_not_retried() {
    let (one, two, _green, proxy) = trio("").await;
    one.trouble(Some(Trouble::Status(503)));
    let all = answers(&proxy, &request("POST", "/orders", "", b"one"), 40).await;
    let failed = all.iter().filter(|answer| answer.status == 503).count() as u64;
    assert!(failed > 0 && failed < 40, "{failed}");
    assert_eq!((one.hits(), two.hits()), (failed, 40 - failed), "each was sent once");
}

/// Fails when: the answer of the last endpoint is replaced by one of the proxy's.
#[tokio::test]
async fn when_all_fail_the_last_answer_is_passed_on() {
    let (one, two, _green, proxy) = trio("").await;
    one.trouble(Some(Trouble::Status(503)));
    two.trouble(Some(Trouble::Status(503)));
    let answer = proxy.once(&get("/")).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.error()), (503, "not well", None));
    assert_eq!((one.hits(), two.hits()), (1, 1), "each was asked once");
}

/// Fails when: retries multiply the load of a slot that is down.
#[tokio::test]
async fn retries_have_a_budget() {
    let (one, two, _green, proxy) = trio("[service.retry]\nbudget = 0").await;
    one.trouble(Some(Trouble::Status(503)));
    two.trouble(Some(Trouble::Status(503)));
    answers(&proxy, &get("/"), 600).await;
    let retried = proxy.metric("verdigris_retries_total", &[]).await;
    let refused = proxy.metric("verdigris_retries_refused_total", &[]).await;
    assert!((1.0..300.0).contains(&retried), "a few a second are always permitted: {retried}");
    assert_eq!(retried + refused, 600.0);
    assert_eq!((one.hits() + two.hits()) as f64, 600.0 + retried);
}

/// Fails when: an endpoint that refuses connections costs a request.
#[tokio::test]
async fn an_endpoint_that_is_gone_costs_nothing() {
    let (one, _two, _green, proxy) = trio("").await;
    one.kill().await;
    for answer in answers(&proxy, &request("POST", "/orders", "", b"one"), 40).await {
        assert_eq!(answer.colour(), "two");
    }
}

async fn pair(tables: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = tables.to_owned());
    let proxy = Proxy::ready(&config).await;
    (blue, green, proxy)
}

/// Fails when: a server that is away for a moment costs a request, even one that may not be repeated.
#[tokio::test]
async fn requests_wait_for_a_server_that_restarts() {
    let (blue, _green, proxy) = pair("[service.retry]\nwait = \"10s\"").await;
    blue.kill().await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let mut conn = proxy.conn().await;
        conn.send(&request("POST", "/orders", "", b"one")).await;
        waiting.push(conn);
    }
    wait_for_in_flight(&proxy, 30.0).await;
    let again = Origin::on(TcpListener::bind(blue.addr).await.unwrap(), "again");
    for mut conn in waiting {
        assert_eq!(conn.answer().await.colour(), "again");
    }
    assert_eq!(again.hits(), 30, "each was sent once");
}

async fn wait_for_in_flight(proxy: &Proxy, count: f64) {
    crate::support::wait::until("the requests to be in flight", || async {
        let now = proxy.metric("verdigris_in_flight", &["slot=\"blue\""]).await;
        if now == count { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Fails when: a request that waits for a dead server stays with it after a switch.
#[tokio::test]
async fn who_waits_takes_the_slot_that_serves_now() {
    let (blue, _green, proxy) = pair("[service.retry]\nwait = \"60s\"").await;
    blue.kill().await;
    let mut conn = proxy.conn().await;
    conn.send(&request("POST", "/orders", "", b"one")).await;
    wait_for_in_flight(&proxy, 1.0).await;
    proxy.switch("green").await;
    assert_eq!(conn.answer().await.colour(), "green");
}

/// Fails when: the wait has no end, or begins anew for every request while a server is down.
#[tokio::test]
async fn the_wait_is_bounded_by_the_outage() {
    let (blue, _green, proxy) = pair("[service.retry]\nwait = \"400ms\"").await;
    blue.kill().await;
    let mut conn = proxy.conn().await;
    let began = Instant::now();
    let answer = within("the end of the wait", conn.call(&get("/"))).await;
    assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_connect")));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    for _ in 0..20 {
        assert_eq!(conn.call(&get("/")).await.status, 502);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "an old outage is not waited for: {:?}", began.elapsed());
}

/// Fails when: a client that gives up waiting leaves its lease behind, or stops the others from finding the server.
#[tokio::test]
async fn who_gives_up_waiting_is_forgotten() {
    let (blue, _green, proxy) = pair("[service.retry]\nwait = \"60s\"").await;
    blue.kill().await;
    let mut conns = Vec::new();
    for _ in 0..6 {
        let mut conn = proxy.conn().await;
        conn.send(&get("/")).await;
        conns.push(conn);
    }
    wait_for_in_flight(&proxy, 6.0).await;
    conns.truncate(3);
    wait_for_in_flight(&proxy, 3.0).await;
    let again = Origin::on(TcpListener::bind(blue.addr).await.unwrap(), "again");
    for mut conn in conns {
        assert_eq!(conn.answer().await.colour(), "again");
    }
    until_true("nothing more to come", || again.hits() == 3).await;
    let reply = proxy.admin.try_switch("iris", json!({ "to": "green", "wait": "drained", "timeout": "5s" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}
