//! Time-outs end what is dead and never what flows.

use std::time::Duration;

use crate::support::{
    client::get,
    config::Config,
    origin::Origin,
    proxy::Proxy,
    wait::{until, within},
    websocket::WebSocket,
};

async fn pair(timeouts: &str) -> (Origin, Origin, Proxy) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config =
        Config::pair(&blue, &green).service(|service| service.tables = format!("[service.timeouts]\n{timeouts}"));
    let proxy = Proxy::ready(&config).await;
    (blue, green, proxy)
}

async fn counted(proxy: &Proxy, kind: &str) {
    let label = format!("kind=\"{kind}\"");
    until("the failure to be counted", || async {
        let count = proxy.metric("verdigris_request_failures_total", &[&label]).await;
        if count == 1.0 { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Fails when: an answer that stalls holds its lease for ever, is ended cleanly, or one that flows is cut.
#[tokio::test]
async fn an_answer_that_stalls_is_cut_and_one_that_flows_is_not() {
    let (blue, _green, proxy) = pair("idle = \"400ms\"").await;
    let mut flowing = proxy.conn().await;
    flowing.send(&get("/?do=sse&n=8&every=150")).await;
    let mut stalling = proxy.conn().await;
    stalling.send(&get("/?do=steps&n=3")).await;
    let head = stalling.head().await;
    blue.step();
    let end = within("the cut", stalling.try_rest(head)).await;
    assert!(end.is_err(), "{end:?}");
    counted(&proxy, "upstream_idle").await;
    let whole = flowing.answer().await;
    assert!(whole.text().ends_with("data: [DONE]\n\n"), "eight tokens in more than a second: {}", whole.text());
}

/// Fails when: a slow client is taken for a stalled server.
#[tokio::test]
async fn a_slow_reader_is_no_stalled_server() {
    let (_blue, _green, proxy) = pair("idle = \"300ms\"").await;
    let mut conn = proxy.conn().await;
    let bytes = 24 << 20;
    conn.send(&get(&format!("/?do=big&bytes={bytes}"))).await;
    let head = conn.head().await;
    // Longer than the limit; what fits nowhere waits in the server.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(conn.rest(head).await.body.len(), bytes);
}

/// Fails when: a single answer may take for ever, or a stream is measured by the same limit.
#[tokio::test]
async fn a_request_has_its_time_and_a_stream_its_own() {
    let (_blue, _green, proxy) = pair("request = \"400ms\"").await;
    let late = proxy.once(&get("/?do=hang")).await;
    assert_eq!((late.status, late.error().as_deref()), (504, Some("request_timeout")), "{}", late.text());
    counted(&proxy, "request_timeout").await;
    let stream = proxy.once(&get("/?do=sse&n=5&every=150")).await;
    assert!(stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
}

/// Fails when: a WebSocket that nobody uses stays for ever, or one that is used is cut.
#[tokio::test]
async fn an_idle_tunnel_is_closed_and_a_busy_one_is_not() {
    let (_blue, _green, proxy) = pair("tunnel_idle = \"400ms\"").await;
    let mut socket = WebSocket::open(proxy.addr).await;
    for round in 0..8 {
        socket.echo(&format!("frame {round}")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    counted(&proxy, "tunnel_idle").await;
}
