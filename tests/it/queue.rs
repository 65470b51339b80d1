//! A slot gets as many requests at once as its servers can take; the next ones wait in a bounded, fair queue.

use crate::support::{
    client::{Conn, get},
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true},
};

async fn pair(limits: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = Config::pair(&blue, &green).service(|service| service.tables = format!("[service.limits]\n{limits}"));
    let proxy = Proxy::ready(&config).await;
    (blue, green, proxy)
}

async fn held(proxy: &Proxy) -> Conn {
    let mut conn = proxy.conn().await;
    conn.send(&get("/?do=held")).await;
    conn
}

async fn wait_for_queue(proxy: &Proxy, length: f64) {
    until("the queue", || async {
        let now = proxy.metric("verdigris_queued", &["slot=\"blue\""]).await;
        if now == length { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Fails when: a server gets more at once than it can take, the queue has no end, or a turn is lost.
#[tokio::test]
async fn a_slot_is_kept_full_and_never_flooded() {
    let (blue, _green, proxy) = pair("concurrency = 2\nqueue = 2").await;
    let mut inside = [held(&proxy).await, held(&proxy).await];
    until_true("both places to be taken", || blue.hits() == 2).await;
    let mut first = held(&proxy).await;
    wait_for_queue(&proxy, 1.0).await;
    let mut second = held(&proxy).await;
    wait_for_queue(&proxy, 2.0).await;

    let refused = proxy.once(&get("/")).await;
    assert_eq!((refused.status, refused.error().as_deref()), (429, Some("queue_full")), "{}", refused.text());
    assert_eq!(refused.field("retry-after").as_deref(), Some("1"));
    assert_eq!(blue.hits(), 2);

    for place in &mut inside {
        blue.step();
        // Which of the two gets the step is the server's choice; both go in turn.
        until_true("the next to come in", || blue.hits() > 2).await;
        let _ = place;
    }
    blue.step();
    blue.step();
    for conn in inside.iter_mut().chain([&mut first, &mut second]) {
        assert_eq!(conn.answer().await.status, 200);
    }
    assert_eq!(blue.hits(), 4);
    wait_for_queue(&proxy, 0.0).await;
}

/// Fails when: a request waits for its turn without an end.
#[tokio::test]
async fn a_turn_that_does_not_come_is_told() {
    let (blue, _green, proxy) = pair("concurrency = 1\nqueue_timeout = \"200ms\"").await;
    let mut inside = held(&proxy).await;
    until_true("the place to be taken", || blue.hits() == 1).await;
    let refused = proxy.once(&get("/")).await;
    assert_eq!((refused.status, refused.error().as_deref()), (503, Some("queue_timeout")), "{}", refused.text());
    assert_eq!(refused.field("retry-after").as_deref(), Some("1"));
    blue.step();
    assert_eq!(inside.answer().await.status, 200);
}

/// Fails when: a request that waits for a slot goes there after a switch has left it (E15).
#[tokio::test]
async fn a_switch_moves_those_who_wait() {
    let (blue, green, proxy) = pair("concurrency = 1").await;
    let mut inside = held(&proxy).await;
    until_true("the place to be taken", || blue.hits() == 1).await;
    let mut waiting = proxy.conn().await;
    waiting.send(&get("/")).await;
    wait_for_queue(&proxy, 1.0).await;
    proxy.switch("green").await;
    assert_eq!(waiting.answer().await.colour(), "green");
    assert_eq!((blue.hits(), green.hits()), (1, 1));
    blue.step();
    assert_eq!(inside.answer().await.colour(), "blue");
}

/// Fails when: a client that leaves the queue keeps its place in it.
#[tokio::test]
async fn who_leaves_the_queue_is_forgotten() {
    let (blue, _green, proxy) = pair("concurrency = 1\nqueue = 1").await;
    let mut inside = held(&proxy).await;
    until_true("the place to be taken", || blue.hits() == 1).await;
    let leaver = held(&proxy).await;
    wait_for_queue(&proxy, 1.0).await;
    drop(leaver);
    wait_for_queue(&proxy, 0.0).await;
    let mut next = held(&proxy).await;
    wait_for_queue(&proxy, 1.0).await;
    blue.step();
    blue.step();
    assert_eq!((inside.answer().await.status, next.answer().await.status), (200, 200));
}

/// Fails when: a stream gives its place back before its last byte.
#[tokio::test]
async fn a_stream_holds_its_place_to_the_end() {
    let (blue, _green, proxy) = pair("concurrency = 1").await;
    let mut stream = proxy.conn().await;
    stream.send(&get("/?do=steps&n=2")).await;
    assert_eq!(stream.head().await.status, 200);
    blue.step();
    stream.event().await.unwrap();
    let mut next = proxy.conn().await;
    next.send(&get("/")).await;
    wait_for_queue(&proxy, 1.0).await;
    assert_eq!(blue.hits(), 1);
    blue.step();
    while stream.event().await.is_some() {}
    assert_eq!(next.answer().await.status, 200);
}

/// Fails when: a new limit waits for a restart, or forgets those who are inside.
#[tokio::test]
async fn a_reload_changes_the_limit() {
    let (blue, green, proxy) = pair("concurrency = 1").await;
    let mut conns = vec![held(&proxy).await];
    until_true("the place to be taken", || blue.hits() == 1).await;
    conns.push(held(&proxy).await);
    wait_for_queue(&proxy, 1.0).await;
    let config =
        Config::pair(&blue, &green).service(|service| service.tables = "[service.limits]\nconcurrency = 2".to_owned());
    std::fs::write(proxy.config_path(), config.text()).unwrap();
    until_true("the second to come in", || blue.hits() == 2).await;
    conns.push(held(&proxy).await);
    wait_for_queue(&proxy, 1.0).await;
    for _ in 0..3 {
        blue.step();
    }
    for mut conn in conns {
        assert_eq!(conn.answer().await.status, 200);
    }
}
