//! Clients that make work and take no answers (RFC 9113 section 10.5): each ends itself and nobody else.

use super::{Client, End, Set, client::Seen, frame::*};
use crate::support::wait::{until, until_true, within};

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

fn id(index: u32) -> u32 {
    2 * index + 1
}

/// Reads and answers in the background of a flood: what a client does that never stops sending.
async fn flood(client: &mut Client, bytes: &[u8], times: usize) {
    for _ in 0..times {
        let sent = tokio::time::timeout(std::time::Duration::from_secs(2), client.link.send(bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// CVE-2023-44487. Fails when: the work that is started for resets has no bound.
#[tokio::test]
async fn rapid_resets_end_their_connection() {
    let set = Set::new("[proxy.limits]\nresets_max = 100").await;
    let mut client = Client::open(set.proxy.addr).await;
    for round in 0..200 {
        let burst = (0..10).flat_map(|index| {
            let stream = id(round * 10 + index);
            [get(stream, "/?do=hang"), reset(stream, 8)].concat()
        });
        client.send(&burst.collect::<Vec<_>>()).await;
    }
    client.until_closed().await;
    assert_eq!(client.goaway, Some(ENHANCE_YOUR_CALM));
    assert!(set.blue.hits() <= 200, "{} reached the server", set.blue.hits());
    assert_eq!(set.upstream_failures().await, 0.0);
    assert!(Client::open(set.proxy.addr).await.still_serves(1).await, "nobody else is ended");
}

/// The slow kind: each request reaches the server before it is reset. Fails when: `resets_max` is not kept, or is not
/// counted.
#[tokio::test]
async fn slow_resets_end_their_connection() {
    let set = Set::new("[proxy.limits]\nresets_max = 20").await;
    let mut client = Client::open(set.proxy.addr).await;
    let mut sent = 0;
    while sent < 60 && !client.closed {
        let stream = id(sent);
        client.send(&get(stream, "/?do=hang")).await;
        sent += 1;
        for bytes in [vec![], reset(stream, 8)] {
            // The proxy may have ended the connection since; a ping's answer or the end, whichever comes.
            let pongs = client.pongs;
            client.send(&[bytes, frame(PING, 0, 0, &[0; 8])].concat()).await;
            client.until("a pong, or the end", |client| client.pongs > pongs).await;
        }
    }
    assert_eq!(client.goaway, Some(ENHANCE_YOUR_CALM));
    assert!((20..=25).contains(&sent), "{sent} were let pass");
    let counted = set.proxy.metric("verdigris_unrouted_failures_total", &["kind=\"reset_flood\""]).await;
    assert_eq!(counted, 1.0);
}

/// Gateways cancel what their own clients gave up. Fails when: a busy one is taken for an attacker.
#[tokio::test]
async fn a_few_resets_are_ordinary() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    for index in 0..300 {
        let stream = id(index);
        client.send(&[get(stream, "/?do=hang"), frame(PING, 0, 0, &[0; 8])].concat()).await;
        let pongs = client.pongs;
        client.until("a pong", |client| client.pongs > pongs).await;
        client.send(&reset(stream, 8)).await;
    }
    assert!(client.still_serves(id(300)).await, "{:?}", client.goaway);
}

/// CVE-2025-8671: the client makes the proxy reset its own streams. Fails when: that has no bound.
#[tokio::test]
async fn provoked_resets_end_their_connection() {
    let set = Set::new("[proxy.limits]\nresets_max = 100").await;
    let provoke: [fn(u32) -> Vec<u8>; 4] = [
        |stream| window(stream, 0),
        |stream| window(stream, 0x7fff_ffff),
        |stream| frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat()),
        |stream| data(stream, 0, b"after the end"),
    ];
    for (kind, provoke) in provoke.into_iter().enumerate() {
        let before = set.blue.hits();
        let mut client = Client::open(set.proxy.addr).await;
        for index in 0..3000 {
            client.send(&[get(id(index), "/?do=hang"), provoke(id(index))].concat()).await;
            if index % 50 == 0
                && tokio::time::timeout(std::time::Duration::from_millis(5), client.step()).await == Ok(false)
            {
                break;
            }
        }
        client.until_closed().await;
        assert!(matches!(client.goaway, None | Some(1..)), "kind {kind}: {:?}", client.goaway);
        let reached = set.blue.hits() - before;
        assert!(reached <= 400, "kind {kind}: {reached} reached the server");
    }
    assert!(Client::open(set.proxy.addr).await.still_serves(1).await);
}

/// Fails when: more streams are served at a time than were announced, or the one too many costs the others.
#[tokio::test]
async fn streams_above_the_limit_are_refused() {
    let set = Set::new("[proxy.limits]\nstreams_max = 10").await;
    let mut client = Client::open(set.proxy.addr).await;
    for index in 0..12 {
        client.send(&get(id(index), "/?do=held")).await;
    }
    assert_eq!(client.settings.get(&3).copied().unwrap_or(10), 10);
    for index in [10, 11] {
        assert_eq!(client.end(id(index)).await, End::Reset(REFUSED_STREAM));
    }
    until_true("ten at the server", || set.blue.hits() == 10).await;
    (0..10).for_each(|_| set.blue.step());
    for index in 0..10 {
        assert_eq!(client.end(id(index)).await, End::Answer(200));
    }
    assert!(client.still_serves(id(20)).await);
}

/// CVE-2024-27316 and its kin. Fails when: a head without end is kept.
#[tokio::test]
async fn endless_heads_end_their_connection() {
    let set = Set::new("").await;
    let block = request("GET", "/", &[]);
    let start = frame(HEADERS, END_STREAM, 1, &block);
    let more = frame(CONTINUATION, 0, 1, &block_of(&"v".repeat(8000)));
    for (name, bytes) in [
        ("CONTINUATION with fields", more),
        ("CONTINUATION that is empty", frame(CONTINUATION, 0, 1, &[])),
        ("CONTINUATION of one byte", frame(CONTINUATION, 0, 1, &[0x82])),
    ] {
        let mut client = Client::open(set.proxy.addr).await;
        client.send(&start).await;
        flood(&mut client, &bytes, 20_000).await;
        client.until_closed().await;
        assert!(matches!(client.goaway, None | Some(1..)), "{name}: {:?}", client.goaway);
    }
    assert_eq!(set.blue.hits(), 0);
}

fn block_of(value: &str) -> Vec<u8> {
    literal(b"x-much", value.as_bytes())
}

/// Fails when: a few bytes may unfold into megabytes, or a large header list is passed on.
#[tokio::test]
async fn header_bombs_are_refused() {
    let set = Set::new("").await;
    // One field of 4000 bytes goes into the table, and is named a thousand times.
    let stored = [&[0x40][..], &literal(b"x-bomb", "v".repeat(3900).as_bytes())[1..]].concat();
    let bomb = [request("GET", "/", &[]), stored, vec![0xbe; 4000]].concat();
    let wide = request("GET", "/", &[("x-wide", &"v".repeat(70_000))]);
    let many: Vec<_> = (0..3000).map(|index| format!("x-{index}")).collect();
    let many =
        [request("GET", "/", &[]), many.iter().flat_map(|name| literal(name.as_bytes(), b"v")).collect()].concat();
    for (name, block) in [("a bomb", bomb), ("a wide field", wide), ("many fields", many)] {
        let mut client = Client::open(set.proxy.addr).await;
        let mut parts = block.chunks(16_000);
        let mut bytes = frame(HEADERS, END_STREAM, 1, parts.next().unwrap());
        parts.for_each(|part| bytes.extend(frame(CONTINUATION, 0, 1, part)));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        client.send(&bytes).await;
        let end = client.end(1).await;
        let refused = matches!(end, End::Answer(431) | End::Reset(1..) | End::GoAway(1..) | End::Closed);
        assert!(refused, "{name}: {end:?}");
    }
    assert_eq!(set.blue.hits(), 0);
}

/// Fails when: a flood of frames that need an answer, or none, stops the others or takes memory without end.
#[tokio::test]
async fn floods_of_small_frames_harm_nobody_else() {
    let set = Set::new("").await;
    let open = |flags| headers(1, flags, &request("POST", "/?do=hang", &[]));
    let mut other = Client::open(set.proxy.addr).await;
    for (index, (name, first, each)) in [
        ("PING", vec![], frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", vec![], settings(&[])),
        ("SETTINGS with values", vec![], settings(&[(1, 0), (1, 4096), (4, 1), (4, 65535)])),
        ("empty DATA", open(0), data(1, 0, b"")),
        ("DATA of one byte", open(0), data(1, 0, b"x")),
        ("all padding", open(0), data(1, PADDED, &[255; 256])),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", vec![], window(0, 1)),
        ("unknown frames", vec![], frame(0x42, 0, 0, b"x")),
        ("empty heads", vec![], headers(1, 0, &[])),
        ("RST_STREAM of a closed stream", [get(1, "/"), reset(1, 8)].concat(), reset(1, 8)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Client::open(set.proxy.addr).await;
        client.send(&first).await;
        flood(&mut client, &each.repeat(100), 300).await;
        let stream = id(u32::try_from(index).unwrap());
        assert!(other.still_serves(stream).await, "{name}: nobody else is answered");
    }
}

/// Fails when: a client that does not read makes the proxy hold what it does not take, or holds others up.
#[tokio::test]
async fn a_client_that_never_reads_is_bounded() {
    let set = Set::new("").await;
    let mut client = Client::open_with(set.proxy.addr, &[(4, 0)]).await;
    client.reads = false;
    for index in 0..20 {
        client.send(&get(id(index), "/?do=big&bytes=100000000")).await;
    }
    until_true("twenty at the server", || set.blue.hits() == 20).await;
    let written = || set.blue.shared.written.load(std::sync::atomic::Ordering::SeqCst);
    let mut last = u64::MAX;
    until("the server to be stopped", || {
        let (now, before) = (written(), std::mem::replace(&mut last, written()));
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            if now == before { Ok(()) } else { Err(now) }
        }
    })
    .await;
    assert!(written() < 20 * (12 << 20), "{} bytes were taken from the server", written());
    assert!(Client::open(set.proxy.addr).await.still_serves(1).await);
    client.send(&reset(1, 8)).await;
    until_true("its end at the server", || set.blue.gone() > 0 || (1..60).any(|id| set.blue.has_ended(id))).await;
}

/// Fails when: streams that never go on are kept for ever, or take the place of others' requests.
#[tokio::test]
async fn slow_bodies_end() {
    let set = Set::new("[proxy.limits]\nbody_timeout = \"300ms\"").await;
    let mut client = Client::open(set.proxy.addr).await;
    client.send(&[headers(1, 0, &request("POST", "/up", &[])), data(1, 0, b"a")].concat()).await;
    let seen: Seen = within("the proxy's patience", client.until_end(1)).await;
    assert!(matches!(seen.end, Some(End::Answer(408) | End::Reset(1..))), "{seen:?}");
    assert!(client.still_serves(3).await);
    assert!(!set.blue.requests()[0].complete);
    // A head that never ends is bounded by the idle time of its connection.
    assert_eq!(set.upstream_failures().await, 0.0);
}
