//! Tokens are small frames. The HTTP/2 library charges each of them to a budget of half the connection's window, and
//! ends the connection, with all its streams, when the budget is used up: a slow client could kill its neighbours.

use super::{
    Client, End,
    frame::*,
    origin::{H2Origin, head},
};
use crate::support::{
    config::{Config, Service},
    proxy::Proxy,
    wait::until_true,
};

/// Enough to use up the budget of the library's own windows twice over: each frame of 8 bytes costs 248 of 2.5 MiB. No more,
/// because the neighbour's answer comes behind all of them, and a busy machine takes its time over frames.
const FRAMES: usize = 25_000;
const FRAME_BYTES: usize = 8;

/// Fails when: the upstream side's connection window is the library's own (5 MiB), or anything far below 2^31-1: the
/// stream of tokens that its client does not read then takes its neighbour with it.
#[tokio::test]
async fn a_slow_client_of_tokens_does_not_kill_its_neighbour() {
    let origin = H2Origin::start(&[], |asked| {
        let text = field(&asked.head, ":path").unwrap_or_default();
        let frames = if text == "/tokens" { FRAMES } else { 1 };
        let tokens = (1..frames).flat_map(|_| data(asked.stream, 0, &[b't'; FRAME_BYTES]));
        let last = data(asked.stream, END_STREAM, &[b't'; FRAME_BYTES]);
        [head(asked.stream), tokens.collect(), last].concat().into()
    })
    .await;
    let proxy = Proxy::ready(&Config::new(vec![Service::new("iris", &origin.url(), "")])).await;
    // One worker's pool, so that both streams share a connection upstream: both come from one client connection.
    let mut client = Client::open_with(proxy.addr, &[(4, 0)]).await;
    client.reads = false;
    client.send(&get(1, "/tokens")).await;
    until_true("the slow stream", || origin.asked() == 1).await;
    client.until("its head", |client| client.seen(1).status() == 200).await;
    client.send(&[get(3, "/tokens"), window(3, 1 << 20), window(0, 1 << 20)].concat()).await;
    assert_eq!(client.end(3).await, End::Answer(200), "the neighbour lives");
    assert_eq!(client.seen(3).body.len(), FRAMES * FRAME_BYTES);
    client.send(&[window(1, 1 << 20), window(0, 1 << 20)].concat()).await;
    assert_eq!(client.end(1).await, End::Answer(200), "and so does the slow one");
    assert_eq!(client.seen(1).body.len(), FRAMES * FRAME_BYTES);
    let connections = origin.look(|log| (log.asked[0].connection, log.asked[1].connection));
    assert_eq!(connections.0, connections.1, "both were on one connection, or this proves nothing");
}

/// Uploads in small frames pass, too. Fails when: the downstream window is far below 16 MiB.
#[tokio::test]
async fn an_upload_in_small_frames_passes() {
    let origin =
        H2Origin::start(&[], |asked| super::origin::answer(asked.stream, &asked.body.len().to_string()).into()).await;
    let proxy = Proxy::ready(&Config::new(vec![Service::new("iris", &origin.url(), "")])).await;
    let mut client = Client::open(proxy.addr).await;
    client.send(&headers(1, 0, &request("POST", "/", &[]))).await;
    let part = data(1, 0, &[b't'; FRAME_BYTES]).repeat(1000);
    for _ in 0..5 {
        client.send(&part).await;
    }
    client.send(&data(1, END_STREAM, b"")).await;
    let seen = client.until_end(1).await;
    assert_eq!(seen.text(), (5_000 * FRAME_BYTES).to_string(), "{seen:?} {:?}", client.goaway);
}
