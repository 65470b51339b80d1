//! Frames that break RFC 9113 sections 3 to 6, and frames that look odd and do not.

use super::{Client, End, Set, Want::*, frame::*};

const NO_ERROR: u32 = 0;

fn post(stream: u32, flags: u8) -> Vec<u8> {
    headers(stream, flags, &request("POST", "/up", &[]))
}

/// Fails when: the proxy takes a preface that is none, or does not say its own settings first.
#[tokio::test]
async fn prefaces() {
    let set = Set::new("[proxy.limits]\nheader_timeout = \"300ms\"").await;
    for (name, bytes) in [
        ("a preface cut short", &PREFACE[..20]),
        ("nothing but the first line", b"PRI * HTTP/2.0\r\n\r\n"),
        ("a wrong end", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        ("PRI over HTTP/1.1", b"PRI * HTTP/1.1\r\n\r\n"),
    ] {
        let mut client = Client::silent(set.proxy.addr).await;
        client.send(bytes).await;
        client.until_closed().await;
        assert_eq!(set.blue.hits(), 0, "{name}");
    }
    let mut client = Client::silent(set.proxy.addr).await;
    for byte in [PREFACE, &settings(&[])].concat() {
        client.send(&[byte]).await;
    }
    assert!(client.still_serves(1).await, "a preface may come byte by byte");
    let announced = set.proxy.conn().await;
    drop(announced);
    assert_eq!(
        client.settings.get(&3),
        Some(&200),
        "the streams that are allowed are announced: {:?}",
        client.settings
    );
    assert_eq!(client.settings.get(&6), Some(&65536), "and so is the header list: {:?}", client.settings);
}

/// Fails when: something other than SETTINGS may be a client's first frame.
#[tokio::test]
async fn the_first_frame_is_settings() {
    let set = Set::new("").await;
    for first in [get(1, "/"), frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[])] {
        let mut client = Client::silent(set.proxy.addr).await;
        client.send(&[PREFACE, &first, &settings(&[])].concat()).await;
        client.send(&get(3, "/")).await;
        let end = client.end(3).await;
        assert!(matches!(end, End::GoAway(1..) | End::Closed), "{end:?}");
        assert_eq!(set.blue.hits(), 0);
    }
}

/// Fails when: a broken frame of the connection itself is taken for something.
#[tokio::test]
async fn connection_frames() {
    let set = Set::new("").await;
    let ping = |flags, payload: &[u8]| frame(PING, flags, 0, payload);
    set.run(vec![
        ("SETTINGS with an unknown id", Ignored, settings(&[(0x77, 7), (0xffff, u32::MAX)])),
        ("SETTINGS with ENABLE_PUSH 2", Ended, settings(&[(2, 2)])),
        ("SETTINGS with a window above 2^31-1", Ended, settings(&[(4, 1 << 31)])),
        ("SETTINGS with a frame size below 16384", Ended, settings(&[(5, 16383)])),
        ("SETTINGS with a frame size above 2^24-1", Ended, settings(&[(5, 1 << 24)])),
        ("SETTINGS of five bytes", Ended, frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", Ended, frame(SETTINGS, 0, 1, &[])),
        ("an acknowledgement with a payload", Ended, frame(SETTINGS, ACK, 0, &[0; 6])),
        ("SETTINGS with max streams 0", Ignored, settings(&[(3, 0)])),
        ("SETTINGS with header table 0", Ignored, settings(&[(1, 0)])),
        ("SETTINGS with the table changed twice", Ignored, settings(&[(1, 0), (1, 4096)])),
        ("SETTINGS with the largest frame size", Ignored, settings(&[(5, (1 << 24) - 1)])),
        ("SETTINGS with a small header list", Ignored, settings(&[(6, 16384)])),
        ("PING of seven bytes", Ended, ping(0, &[0; 7])),
        ("PING of nine bytes", Ended, ping(0, &[0; 9])),
        ("PING on a stream", Ended, frame(PING, 0, 1, &[0; 8])),
        ("PING", Ignored, ping(0, &[7; 8])),
        ("PING that acknowledges nothing", Ignored, ping(ACK, &[7; 8])),
        ("PING with undefined flags", Ignored, ping(0xfe, &[7; 8])),
        ("GOAWAY of four bytes", Ended, frame(GOAWAY, 0, 0, &[0; 4])),
        ("GOAWAY on a stream", Ended, frame(GOAWAY, 0, 1, &[0; 8])),
        ("WINDOW_UPDATE by 0", Ended, window(0, 0)),
        ("WINDOW_UPDATE over 2^31-1", Ended, window(0, 0x7fff_ffff)),
        ("WINDOW_UPDATE of three bytes", Ended, frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("WINDOW_UPDATE of five bytes", Ended, frame(WINDOW_UPDATE, 0, 0, &[0; 5])),
        ("WINDOW_UPDATE with the reserved bit", Ignored, window(0, 0x8000_0001)),
        ("an unknown frame", Ignored, frame(0x42, 0xff, 0, b"whatever")),
        ("an unknown frame on an idle stream", Ignored, frame(0x42, 0xff, 77, b"whatever")),
        ("an unknown frame that is empty", Ignored, frame(0xff, 0, 0, &[])),
        ("a frame above the size that was announced", Ended, frame(0x42, 0, 0, &[0; 16385])),
        ("a frame of 16 MiB, said but not sent", Ended, vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
        ("PRIORITY on an idle stream", Ignored, frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1])),
        ("PRIORITY of four bytes", Refused, [frame(PRIORITY, 0, 1, &[0; 4]), get(1, "/")].concat()),
        ("PRIORITY on stream 0", Ended, frame(PRIORITY, 0, 0, &[0; 5])),
        ("PRIORITY_UPDATE", Ignored, frame(0x10, 0, 0, b"\x00\x00\x00\x01u=1")),
    ])
    .await;
}

/// Fails when: a frame is taken for a stream that does not exist, or has ended.
#[tokio::test]
async fn streams() {
    let set = Set::new("").await;
    let closed = |more: Vec<u8>| [get(1, "/?do=held"), more].concat();
    let promise = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &request("GET", "/", &[])].concat());
    set.run(vec![
        ("DATA on an idle stream", Ended, data(1, END_STREAM, b"x")),
        ("DATA on stream 0", Ended, data(0, 0, b"x")),
        ("DATA after END_STREAM", Refused, closed(data(1, 0, b"x"))),
        ("HEADERS after END_STREAM", Refused, closed(get(1, "/"))),
        ("RST_STREAM on an idle stream", Ended, reset(1, 8)),
        ("RST_STREAM on stream 0", Ended, reset(0, 8)),
        ("RST_STREAM of three bytes", Ended, [post(1, 0), frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
        ("RST_STREAM of five bytes", Ended, [post(1, 0), frame(RST_STREAM, 0, 1, &[0; 5])].concat()),
        ("RST_STREAM with an unknown code", Ignored, [post(1, 0), reset(1, 0xdead)].concat()),
        ("WINDOW_UPDATE on an idle stream", Ended, window(1, 1)),
        ("WINDOW_UPDATE by 0 on a stream", Refused, closed(window(1, 0))),
        ("WINDOW_UPDATE over 2^31-1 on a stream", Refused, closed(window(1, 0x7fff_ffff))),
        ("HEADERS on stream 0", Ended, get(0, "/")),
        ("HEADERS on an even stream", Ended, get(2, "/")),
        ("HEADERS on a lower stream", Ended, [get(5, "/?do=held"), get(1, "/")].concat()),
        ("PUSH_PROMISE", Ended, [post(1, 0), promise].concat()),
        ("a stream that depends on itself", Refused, {
            let block = [&[0, 0, 0, 1, 15][..], &request("GET", "/", &[])].concat();
            headers(1, END_STREAM | WITH_PRIORITY, &block)
        }),
        ("PRIORITY on itself", Refused, [frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 15]), get(1, "/?do=held")].concat()),
        ("HEADERS with a priority", Served, {
            let block = [&[0, 0, 0, 0, 15][..], &request("GET", "/", &[])].concat();
            headers(1, END_STREAM | WITH_PRIORITY, &block)
        }),
        ("HEADERS with the reserved bit of the id", Served, {
            let mut bytes = get(1, "/");
            bytes[5] |= 0x80;
            bytes
        }),
        ("HEADERS with undefined flags", Served, headers(1, END_STREAM | 0x52, &request("GET", "/", &[]))),
    ])
    .await;
}

/// Fails when: padding is not taken off, not counted, or not bounded by its frame.
#[tokio::test]
async fn padding() {
    let set = Set::new("").await;
    let padded = |stream, flags, text: &[u8], padding: u8| {
        let bytes = [&[padding][..], text, &vec![0; usize::from(padding)]].concat();
        data(stream, flags | PADDED, &bytes)
    };
    let head = [&[3][..], &request("GET", "/", &[]), &[0; 3]].concat();
    set.run(vec![
        ("a body that starts with padding", Served, [post(1, 0), padded(1, END_STREAM, b"abc", 9)].concat()),
        ("a frame that is all padding", Served, [post(1, 0), padded(1, 0, b"", 255), data(1, 1, b"x")].concat()),
        ("padding of length 0", Served, [post(1, 0), padded(1, END_STREAM, b"abc", 0)].concat()),
        ("padding that is not zero", Served, [post(1, 0), data(1, PADDED | END_STREAM, b"\x02abc\xff\xff")].concat()),
        ("padding as long as the frame", Ended, [post(1, 0), data(1, PADDED | END_STREAM, b"\x04abc")].concat()),
        ("no room for the padding's length", Ended, [post(1, 0), data(1, PADDED | END_STREAM, b"")].concat()),
        ("a head with padding", Served, headers(1, END_STREAM | PADDED, &head)),
        ("a head with more padding than frame", Ended, headers(1, END_STREAM | PADDED, &[255, 0x82])),
    ])
    .await;
    let bodies: Vec<_> =
        set.blue.requests().into_iter().filter(|one| one.method == "POST").map(|one| one.body).collect();
    assert_eq!(bodies[..4], [b"abc".to_vec(), b"x".to_vec(), b"abc".to_vec(), b"abc".to_vec()]);
}

/// Fails when: a header block may be interrupted, never ends, or is wrongly decoded.
#[tokio::test]
async fn continuations_and_compression() {
    let set = Set::new("").await;
    let block = request("GET", "/", &[("x-long", &"v".repeat(300))]);
    let (one, rest) = block.split_at(40);
    let start = frame(HEADERS, END_STREAM, 1, one);
    let bytewise = || {
        let last = block.len() - 1;
        let head = frame(HEADERS, END_STREAM, 1, &block[..last - 3]);
        let each = (last - 3..last).flat_map(|at| frame(CONTINUATION, 0, 1, &block[at..=at]));
        [head, each.collect(), frame(CONTINUATION, END_HEADERS, 1, &block[last..])].concat()
    };
    let compressed = |bytes: &[u8]| headers(1, END_STREAM, &[bytes, &request("GET", "/", &[])].concat());
    let field = |bytes: &[u8]| headers(1, END_STREAM, &[&request("GET", "/", &[]), bytes].concat());
    set.run(vec![
        ("a head in two frames", Served, [start.clone(), frame(CONTINUATION, END_HEADERS, 1, rest)].concat()),
        ("a head in five frames", Served, bytewise()),
        (
            "an empty CONTINUATION",
            Served,
            [start.clone(), frame(CONTINUATION, 0, 1, &[]), frame(9, 4, 1, rest)].concat(),
        ),
        ("CONTINUATION on another stream", Ended, [start.clone(), frame(CONTINUATION, END_HEADERS, 3, rest)].concat()),
        ("DATA between", Ended, [start.clone(), data(1, 0, b"x"), frame(9, 4, 1, rest)].concat()),
        ("PING between", Ended, [start.clone(), frame(PING, 0, 0, &[0; 8]), frame(9, 4, 1, rest)].concat()),
        ("an unknown frame between", Ended, [start.clone(), frame(0x42, 0, 0, &[]), frame(9, 4, 1, rest)].concat()),
        ("HEADERS between", Ended, [start.clone(), get(3, "/")].concat()),
        ("CONTINUATION after the end of a head", Ended, [get(1, "/?do=held"), frame(9, 4, 1, &block)].concat()),
        ("CONTINUATION first", Ended, frame(CONTINUATION, END_HEADERS, 1, &block)),
        ("CONTINUATION on stream 0", Ended, frame(CONTINUATION, END_HEADERS, 0, &block)),
        ("index 0", Ended, field(&[0x80])),
        ("an index beyond the table", Ended, field(&[0xfe])),
        ("a name's index beyond the table", Ended, field(&[0x7e, 1, b'v'])),
        ("an integer without end", Ended, field(&[0xff; 12])),
        ("a string longer than its block", Ended, field(&[0, 0x7e, b'x'])),
        ("a block cut inside a field", Ended, field(&[0, 1])),
        ("Huffman padding of zeros", Ended, field(&[0, 1, b'x', 0x81, 0b0001_1000])),
        ("Huffman padding above seven bits", Ended, field(&[0, 1, b'x', 0x82, 0b0001_1111, 0xff])),
        ("a table size above the one announced", Ended, compressed(&[0x3f, 0xe2, 0x1f])),
        ("a table size of 0", Served, compressed(&[0x20])),
        ("a table size after a field", Ended, field(&[0x20])),
        ("a field that is never indexed", Served, field(b"\x10\x03x-a\x01b")),
        ("a field that is indexed", Served, field(b"\x40\x03x-a\x01b")),
    ])
    .await;
}

/// Fails when: a ping is not answered, or a GOAWAY of the client's ends what is open.
#[tokio::test]
async fn pings_and_goaway() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    client.send(&frame(PING, 0, 0, b"12345678")).await;
    client.until("a pong", |client| client.pongs == 1).await;
    client.send(&[get(1, "/?do=held"), goaway(0, NO_ERROR)].concat()).await;
    crate::support::wait::until_true("the request at the server", || set.blue.hits() == 1).await;
    set.blue.step();
    assert_eq!(client.end(1).await, End::Answer(200));
    client.until_closed().await;
}
