//! Idle client connections give their buffers back after two seconds; their clients must not notice.

use std::time::Duration;

use crate::support::{client::get, config::Config, origin::Origin, proxy::Proxy};

/// Longer than a connection must be idle to rest, and a tick of the worker. Nothing outside tells that it does.
const IDLE: Duration = Duration::from_millis(2400);

/// Fails when: a rested connection does not wake up for a request, loses the part of a head that was there before, says
/// anything by itself, or outlives a shutdown.
#[tokio::test]
async fn a_rested_connection_serves_on() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let proxy = Proxy::ready(&Config::pair(&blue, &green)).await;
    let (mut new, mut used, mut halfway) = (proxy.conn().await, proxy.conn().await, proxy.conn().await);
    used.send(&get("/1")).await;
    assert_eq!(used.answer().await.status, 200);
    let (first, second) = (get("/2"), get("/3"));
    let (begin, rest) = second.split_at(second.len() / 2);
    halfway.send(&[&first[..], begin].concat()).await;
    assert_eq!(halfway.answer().await.status, 200);
    tokio::time::sleep(IDLE).await;
    for (conn, bytes) in [(&mut new, &get("/4")[..]), (&mut used, &get("/5")), (&mut halfway, rest)] {
        conn.send(bytes).await;
        assert_eq!(conn.answer().await.status, 200);
        conn.send(&get("/6")).await;
        assert_eq!(conn.answer().await.status, 200, "and the next one in the ordinary way");
    }
    tokio::time::sleep(IDLE).await;
    proxy.begin_shutdown();
    assert!(new.is_closed().await && used.is_closed().await && halfway.is_closed().await);
    proxy.ended().await;
}
