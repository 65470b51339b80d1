//! Slots that change while something still runs on them: the verdict must never forget a lease (P4, E2).

use std::fs;

use serde_json::json;

use crate::support::{
    client::{Conn, get},
    config::{Config, Service},
    origin::Origin,
    proxy::Proxy,
    wait::{until, until_true},
};

async fn pair() -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    (blue, green, proxy)
}

/// A stream that has begun and goes on as the test says.
async fn stream(proxy: &Proxy, target: &str) -> Conn {
    let mut conn = proxy.conn().await;
    conn.send(&get(&format!("{target}?do=steps&n=1"))).await;
    assert_eq!(conn.head().await.status, 200);
    conn
}

async fn ends_whole(mut conn: Conn, origin: &Origin) {
    origin.step();
    assert!(conn.event().await.is_some());
    assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(conn.event().await, None);
}

/// Fails when: in `control::overview`, `SlotView::new` leaves out the tenures before this one, so that a slot's second
/// time of serving hides what is left of the first.
#[tokio::test]
async fn a_lease_of_an_earlier_tenure_is_not_forgotten() {
    let (blue, _green, proxy) = pair().await;
    let first = stream(&proxy, "/").await;
    for to in ["green", "blue", "green"] {
        proxy.switch(to).await;
    }
    let drain = proxy.admin.drain("iris", "blue").await;
    assert_eq!((&drain["safe_to_delete"], &drain["in_flight"]["total"]), (&json!(false), &json!(1)), "{drain}");
    ends_whole(first, &blue).await;
    proxy.admin.until_safe_to_delete("iris", "blue").await;
}

/// Fails when: in `control::entry`, `slot_table` does not put the old tenure of a slot that goes on serving into
/// `past`.
#[tokio::test]
async fn a_lease_on_replaced_endpoints_is_not_forgotten() {
    let (blue, _green, proxy) = pair().await;
    let teal = Origin::start("teal").await;
    let running = stream(&proxy, "/").await;
    let body = json!({"endpoints": [teal.url()], "version": "v3"});
    let reply = proxy.admin.put_slot("iris", "blue", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(proxy.once(&get("/")).await.colour(), "teal");
    proxy.switch("green").await;
    let drain = proxy.admin.drain("iris", "blue").await;
    assert_eq!((&drain["safe_to_delete"], &drain["in_flight"]["total"]), (&json!(false), &json!(1)), "{drain}");
    ends_whole(running, &blue).await;
    proxy.admin.until_safe_to_delete("iris", "blue").await;
}

/// The same for a slot that has left service already. Fails when: in `control::overview`, `SlotView::new` leaves out
/// the tenures before this one.
#[tokio::test]
async fn a_draining_slot_that_gets_new_endpoints_still_drains() {
    let (blue, _green, proxy) = pair().await;
    let teal = Origin::start("teal").await;
    let running = stream(&proxy, "/").await;
    proxy.switch("green").await;
    let reply = proxy.admin.put_slot("iris", "blue", json!({"endpoints": [teal.url()]})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let drain = proxy.admin.drain("iris", "blue").await;
    assert_eq!((&drain["safe_to_delete"], &drain["in_flight"]["total"]), (&json!(false), &json!(1)), "{drain}");
    ends_whole(running, &blue).await;
    proxy.admin.until_safe_to_delete("iris", "blue").await;
}

/// Fails when: in `control::reload`, `apply` cuts what runs.
#[tokio::test]
async fn streams_outlive_the_reload_that_removes_their_service() {
    let (blue, teal) = (Origin::start("blue").await, Origin::start("teal").await);
    let iris = Service::new("iris", &blue.url(), "").rule("path_prefix = \"/iris\"");
    let rose = Service::new("rose", &teal.url(), "").rule("path_prefix = \"/rose\"");
    let proxy = Proxy::ready(&Config::new(vec![iris.clone(), rose])).await;
    let (on_iris, on_rose) = (stream(&proxy, "/iris").await, stream(&proxy, "/rose").await);
    let mut moved = iris;
    moved.blue = format!("\"{}\"", teal.url());
    fs::write(proxy.config_path(), Config::new(vec![moved]).text()).unwrap();
    until("both changes", || async {
        let (iris, rose) = (proxy.once(&get("/iris")).await, proxy.once(&get("/rose")).await);
        let done = rose.error().as_deref() == Some("no_service") && iris.colour() == "teal";
        done.then_some(()).ok_or((iris.status, rose.status))
    })
    .await;
    ends_whole(on_iris, &blue).await;
    ends_whole(on_rose, &teal).await;
}

/// E15. Fails when: in `proxy::forward`, `hold` keeps the slot that a switch has left, or `after_failure` never permits
/// a replay.
#[tokio::test]
async fn a_replay_after_a_switch_takes_the_new_slot() {
    let (blue, green, proxy) = pair().await;
    let mut conn = proxy.conn().await;
    assert_eq!(conn.call(&get("/")).await.colour(), "blue");
    // On the connection that is in the pool now, the server waits, and closes without an answer after the switch.
    conn.send(&get("/?do=held")).await;
    until_true("the request to reach blue", || blue.hits() == 2).await;
    proxy.switch("green").await;
    green.step();
    blue.kill().await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.colour().as_str()), (200, "green"));
    assert_eq!(answer.field("x-verdigris-slot").as_deref(), Some("green"));
    proxy.admin.until_safe_to_delete("iris", "blue").await;
}
