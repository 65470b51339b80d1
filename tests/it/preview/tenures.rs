//! What a preview holds, and when a slot takes none: P4.

use serde_json::json;

use super::{BY_NETWORK, BY_TOKEN, GREEN, Pair, TOKEN, pair};
use crate::support::{
    client::{Conn, request},
    origin::Origin,
    wait::{until, until_true},
};

/// A preview stream on green that has begun.
async fn stream(pair: &Pair) -> Conn {
    let mut conn = pair.proxy.conn().await;
    conn.send(&request("GET", "/?do=steps&n=2", GREEN, b"")).await;
    assert_eq!(conn.head().await.field("x-verdigris-slot").as_deref(), Some("green"));
    pair.green.step();
    assert!(conn.event().await.is_some());
    conn
}

async fn ends_whole(mut conn: Conn, pair: &Pair) {
    pair.green.step();
    assert!(conn.event().await.is_some());
    assert_eq!(conn.event().await.as_deref(), Some("[DONE]"));
    assert_eq!(conn.event().await, None);
}

async fn phase(pair: &Pair) -> String {
    pair.proxy.admin.status("iris").await["slots"]["green"]["phase"].as_str().unwrap().to_owned()
}

/// P4. Fails when: in `control::overview`, `is_drained` leaves the slot's own tenure out; in `control::entry`,
/// `slot_table` keeps the tenure of a slot that was emptied, or does not put it into `past`; in `table::pointer`,
/// `publish` retires only what served.
#[tokio::test]
async fn green_is_safe_to_delete_when_it_is_emptied_and_its_previews_have_ended() {
    let pair = pair(BY_NETWORK).await;
    let drain = pair.proxy.admin.drain("iris", "green").await;
    assert_eq!((&drain["safe_to_delete"], &drain["takes_previews"]), (&json!(false), &json!(true)), "{drain}");
    assert!(drain["why"].as_str().unwrap().contains("empty the slot first"), "{drain}");
    assert_eq!(phase(&pair).await, "standby");
    let running = stream(&pair).await;
    assert_eq!(pair.proxy.admin.drain("iris", "green").await["in_flight"]["stream"], 1);
    assert_eq!(phase(&pair).await, "standby");

    let reply = pair.proxy.admin.put_slot("iris", "green", json!({"endpoints": []})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = pair.assert_refused(503, "slot_empty", GREEN).await;
    assert!(answer.text().contains("slot green of service iris"), "{}", answer.text());
    let drain = pair.proxy.admin.drain("iris", "green").await;
    assert_eq!((&drain["safe_to_delete"], &drain["in_flight"]["total"]), (&json!(false), &json!(1)), "{drain}");
    assert_eq!(phase(&pair).await, "draining");
    ends_whole(running, &pair).await;
    pair.proxy.admin.until_safe_to_delete("iris", "green").await;
    assert_eq!(phase(&pair).await, "empty");
}

/// P1, P4. Fails when: in `control::entry`, `slot_table` opens a slot that has served, or forgets that one has when its
/// contents are put in once more while it serves.
#[tokio::test]
async fn what_has_served_takes_no_previews_until_it_is_filled_anew() {
    let pair = pair(BY_NETWORK).await;
    let contents = json!({"endpoints": [pair.blue.url()], "version": "v-blue"});
    assert_eq!(pair.proxy.admin.put_slot("iris", "blue", contents.clone()).await.status, 200);
    pair.proxy.switch("green").await;
    let answer = pair.assert_refused(409, "preview_unavailable", "x-verdigris-slot: blue\r\n").await;
    assert!(answer.text().contains("has served already"), "{}", answer.text());
    pair.proxy.admin.until_safe_to_delete("iris", "blue").await;
    pair.proxy.admin.rollback("iris").await;
    pair.assert_refused(409, "preview_unavailable", GREEN).await;
    pair.proxy.admin.until_safe_to_delete("iris", "green").await;
    let contents = json!({"endpoints": [pair.green.url()], "version": "v-green"});
    assert_eq!(pair.proxy.admin.put_slot("iris", "green", contents).await.status, 200);
    pair.assert_served_by("green", GREEN).await;
    assert_eq!(pair.proxy.admin.drain("iris", "green").await["safe_to_delete"], false);
}

/// Fails when: in `control::entry`, `slot_table` loses the previews that ran when the slot became active.
#[tokio::test]
async fn a_preview_that_runs_over_switch_and_rollback_holds_the_slot() {
    let pair = pair(BY_NETWORK).await;
    let running = stream(&pair).await;
    pair.proxy.switch("green").await;
    assert_eq!(pair.proxy.admin.drain("iris", "green").await["in_flight"]["stream"], 1);
    pair.proxy.admin.rollback("iris").await;
    let drain = pair.proxy.admin.drain("iris", "green").await;
    assert_eq!((&drain["safe_to_delete"], &drain["in_flight"]["stream"]), (&json!(false), &json!(1)), "{drain}");
    pair.assert_refused(409, "preview_unavailable", GREEN).await;
    ends_whole(running, &pair).await;
    pair.proxy.admin.until_safe_to_delete("iris", "green").await;
}

/// Fails when: in `proxy::assign`, `again` forgets what the caller chose: blue would answer for green.
#[tokio::test]
async fn a_preview_that_loses_its_slot_is_refused_and_not_sent_to_the_other() {
    let limits = format!("{BY_NETWORK}\n[service.limits]\nconcurrency = 1");
    let pair = pair(&limits).await;
    let mut inside = pair.proxy.conn().await;
    inside.send(&request("GET", "/?do=held", GREEN, b"")).await;
    until_true("the place to be taken", || pair.green.hits() == 1).await;
    let mut waiting = pair.proxy.conn().await;
    waiting.send(&request("GET", "/", GREEN, b"")).await;
    until("the queue", || async {
        let queued = pair.proxy.metric("verdigris_queued", &["slot=\"green\""]).await;
        if queued == 1.0 { Ok(()) } else { Err(queued) }
    })
    .await;
    pair.proxy.admin.put_slot("iris", "green", json!({"endpoints": []})).await;
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.error().as_deref()), (503, Some("slot_empty")), "{}", answer.text());
    pair.green.step();
    assert_eq!(inside.answer().await.colour(), "green");
    assert_eq!(pair.blue.hits(), 0);
}

/// Fails when: in `control::describe`, `change_of` overlooks a new token; in `control::reload`, `revise` keeps the rules
/// of before; in `control::entry`, `slot_table` keeps a tenure open that nobody may use any more.
#[tokio::test]
async fn a_reload_adds_changes_and_removes_it() {
    let pair = pair("").await;
    pair.proxy.admin.until_safe_to_delete("iris", "green").await;
    let with_token = format!("{GREEN}x-verdigris-token: {TOKEN}\r\n");
    pair.reload(BY_TOKEN).await;
    pair.assert_served_by("green", &with_token).await;
    assert_eq!(pair.proxy.admin.drain("iris", "green").await["safe_to_delete"], false);

    let running = pair.proxy.dir.path().join("preview.token");
    std::fs::write(running, "another-token-of-previews\n").unwrap();
    pair.reload(BY_TOKEN).await;
    pair.assert_refused(403, "preview_denied", &with_token).await;
    pair.assert_served_by("green", &format!("{GREEN}x-verdigris-token: another-token-of-previews\r\n")).await;
    let reason = pair.proxy.admin.history("iris").await[0]["reason"].clone();
    assert_eq!(reason, "the token of service.preview changed");

    pair.reload(BY_NETWORK).await;
    let running = stream(&pair).await;
    pair.reload("").await;
    pair.assert_served_by("blue", GREEN).await;
    assert_eq!(pair.proxy.admin.drain("iris", "green").await["in_flight"]["stream"], 1);
    ends_whole(running, &pair).await;
    pair.proxy.admin.until_safe_to_delete("iris", "green").await;
}

/// Fails when: in `store`, it is forgotten over a restart that a slot has served.
#[tokio::test]
async fn a_restart_remembers_what_has_served() {
    let Pair { blue, green, proxy } = pair(BY_NETWORK).await;
    proxy.switch("green").await;
    let pair = Pair { proxy: proxy.restart().await, blue, green };
    pair.assert_refused(409, "preview_unavailable", "x-verdigris-slot: blue\r\n").await;
    pair.assert_served_by("green", "").await;
}

/// Fails when: in `control::handle`, `begin_drain` takes a slot that is filled anew for one where nothing drains, because
/// it takes previews already.
#[tokio::test]
async fn what_drains_can_be_cut_though_new_previews_are_taken() {
    let pair = pair(BY_NETWORK).await;
    let mut running = stream(&pair).await;
    let other = Origin::start("green").await;
    let contents = json!({"endpoints": [other.url()], "version": "v-green"});
    assert_eq!(pair.proxy.admin.put_slot("iris", "green", contents).await.status, 200);
    assert_eq!(phase(&pair).await, "draining");
    let drain = json!({"cut_after": "0s"});
    let reply = pair.proxy.admin.call("POST", "/v1/services/iris/slots/green/drain", Some(drain)).await;
    // 202: what stands there now is not safe to delete.
    assert_eq!((reply.status, &reply.json["cut"]), (202, &json!(1)), "{}", reply.text);
    assert!(running.try_event().await.is_err(), "cut, and visibly");
    pair.assert_served_by("green", GREEN).await;
}

/// Fails when: in `control::handle`, a wait for such a slot lasts as long as it may, or its previews can be cut.
#[tokio::test]
async fn waiting_for_a_slot_that_takes_previews_ends_at_once() {
    let pair = pair(BY_NETWORK).await;
    // Longer than the test's patience.
    let path = "/v1/services/iris/slots/green/drain";
    let reply = pair.proxy.admin.call("GET", &format!("{path}?wait=60s"), None).await;
    assert_eq!((reply.status, &reply.json["safe_to_delete"]), (200, &json!(false)), "{}", reply.text);
    let reply = pair.proxy.admin.call("POST", path, Some(json!({"cut_after": "0s"}))).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
}
