//! Servers that speak HTTP/2 and end streams and connections in every way there is (RFC 9113 sections 6.8, 8.1, 8.7).

use super::{
    Client, End,
    frame::*,
    origin::{Asked, H2Origin, Reaction, answer, head},
};
use crate::support::{
    config::{Config, Service},
    proxy::Proxy,
    wait::until_true,
};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// How a server refuses a stream.
type Refusal = fn(&Asked) -> Reaction;

/// A broken answer for a stream.
type Broken = Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

async fn in_front_of(origin: &H2Origin) -> Proxy {
    Proxy::ready(&Config::new(vec![Service::new("iris", &origin.url(), "")])).await
}

async fn set(list: &[(u16, u32)], script: impl Fn(&Asked) -> Reaction + Send + Sync + 'static) -> (H2Origin, Proxy) {
    let origin = H2Origin::start(list, script).await;
    let proxy = in_front_of(&origin).await;
    (origin, proxy)
}

fn post(stream: u32, body: &[u8]) -> Vec<u8> {
    [headers(stream, 0, &request("POST", "/v1/files", &[])), data(stream, END_STREAM, body)].concat()
}

/// Fails when: a stream that the server did not take up is the client's problem, whatever its method.
#[tokio::test]
async fn what_was_refused_is_sent_again() {
    let refusals: [(&str, Refusal); 3] = [
        ("REFUSED_STREAM", |asked| reset(asked.stream, REFUSED_STREAM).into()),
        ("GOAWAY before the stream", |asked| goaway(asked.stream - 2, NO_ERROR).into()),
        ("GOAWAY and the end", |asked| Reaction { bytes: goaway(asked.stream - 2, NO_ERROR), closes: true }),
    ];
    for (name, refuse) in refusals {
        let (origin, proxy) = set(&[], move |asked| {
            if asked.before == 1 && asked.stream > 1 { refuse(asked) } else { answer(asked.stream, "done").into() }
        })
        .await;
        let mut client = Client::open(proxy.addr).await;
        for stream in [1, 3, 5] {
            client.send(&headers(stream, END_STREAM, &request("POST", "/v1/files", &[]))).await;
            assert_eq!(client.until_end(stream).await.text(), "done", "{name}, stream {stream}");
        }
        assert!(origin.asked() >= 3, "{name}");
    }
}

/// Fails when: a server that restarts gracefully costs a request.
#[tokio::test]
async fn graceful_restarts_lose_nothing() {
    // Every fourth stream of a connection is its last one: GOAWAY names it, and it is answered.
    let (origin, proxy) = set(&[], |asked| {
        let last = asked.stream >= 7;
        let bye = if last { goaway(asked.stream, NO_ERROR) } else { Vec::new() };
        [bye, answer(asked.stream, "done")].concat().into()
    })
    .await;
    let mut client = Client::open(proxy.addr).await;
    for index in 0..100 {
        let stream = 2 * index + 1;
        client.send(&post(stream, b"work")).await;
        let seen = client.until_end(stream).await;
        assert_eq!((seen.text().as_str(), &seen.end), ("done", &Some(End::Answer(200))), "request {index}");
    }
    assert_eq!(origin.asked(), 100, "and none is done twice");
}

/// Fails when: an answer that broke off looks whole, or its reset invites the client to send the request again.
#[tokio::test]
async fn resets_inside_an_answer_show() {
    for code in [NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, 11, 0xdead] {
        let (_origin, proxy) = set(&[], move |asked| {
            if asked.before > 0 {
                return answer(asked.stream, "done").into();
            }
            [head(asked.stream), data(asked.stream, 0, b"half"), reset(asked.stream, code)].concat().into()
        })
        .await;
        let mut client = Client::open(proxy.addr).await;
        let end = client.get(1, "/").await.end;
        let shown = match &end {
            Some(End::Reset(shown)) => ![NO_ERROR, REFUSED_STREAM].contains(shown),
            // Both may come at once, and then there was no answer.
            Some(End::Answer(502)) => true,
            _ => false,
        };
        assert!(shown, "code {code}: {end:?}");
        assert_eq!(client.get(3, "/").await.text(), "done", "one stream's end is not the connection's");
    }
}

/// Fails when: a complete answer is lost because the rest of the request was not wanted.
#[tokio::test]
async fn an_early_answer_with_a_reset_arrives() {
    let origin =
        H2Origin::start(&[], |asked| [answer(asked.stream, "enough"), reset(asked.stream, NO_ERROR)].concat().into())
            .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Client::open(proxy.addr).await;
    let seen = client.get(1, "/").await;
    assert_eq!((seen.end.clone(), seen.text().as_str()), (Some(End::Answer(200)), "enough"));
}

/// Fails when: the death of a connection with many streams looks like an end to any of them.
#[tokio::test]
async fn a_dying_connection_shows_on_every_stream() {
    let (origin, proxy) = set(&[], |asked| {
        let closes = asked.before == 19;
        let bytes = [head(asked.stream), data(asked.stream, 0, b"half")].concat();
        Reaction { bytes: if closes { Vec::new() } else { bytes }, closes }
    })
    .await;
    let mut client = Client::open(proxy.addr).await;
    for index in 0..19 {
        client.send(&get(2 * index + 1, "/")).await;
    }
    client.until("every half", |client| (0..19).all(|index| client.seen(2 * index + 1).body == b"half")).await;
    client.send(&headers(39, END_STREAM, &request("POST", "/v1/files", &[]))).await;
    for index in 0..19 {
        let end = client.end(2 * index + 1).await;
        assert!(matches!(end, End::Reset(1..)), "{end:?}");
    }
    assert_eq!(client.end(39).await, End::Answer(502));
    assert_eq!(origin.asked(), 20, "what may have been done is not done again");
}

/// Fails when: more streams are opened than the server allows, or the rest fail instead of waiting.
#[tokio::test]
async fn the_servers_stream_limit_is_a_queue() {
    let (origin, proxy) = set(&[(3, 2)], |asked| answer(asked.stream, "done").into()).await;
    let mut client = Client::open(proxy.addr).await;
    // A limit is known only when the server's settings have come.
    assert_eq!(client.get(1, "/").await.text(), "done");
    for index in 1..50 {
        client.send(&post(2 * index + 1, b"work")).await;
    }
    for index in 1..50 {
        assert_eq!(client.until_end(2 * index + 1).await.text(), "done", "request {index}");
    }
    assert!(origin.look(|log| log.most_open) <= 2, "{} were open", origin.look(|log| log.most_open));
}

/// Fails when: a broken answer is passed on, or its server's connection is trusted further.
#[tokio::test]
async fn malformed_answers_are_refused() {
    let status = |list: &[(&str, &str)], stream| headers(stream, END_STREAM, &block(list));
    let large: &'static str = Box::leak("v".repeat(300_000).into_boxed_str());
    let table: Vec<(&str, Broken)> = vec![
        ("no :status", Box::new(move |stream| status(&[("x-a", "1")], stream))),
        ("a :status of two digits", Box::new(move |stream| status(&[(":status", "20")], stream))),
        ("an upper-case name", Box::new(move |stream| status(&[(":status", "200"), ("X-A", "1")], stream))),
        ("CR LF", Box::new(move |stream| status(&[(":status", "200"), ("x-a", "1\r\nx-b: 2")], stream))),
        ("a connection field", Box::new(move |stream| status(&[(":status", "200"), ("connection", "close")], stream))),
        (
            "two lengths",
            Box::new(move |stream| {
                status(&[(":status", "200"), ("content-length", "0"), ("content-length", "1")], stream)
            }),
        ),
        (
            "a length without a body",
            Box::new(move |stream| status(&[(":status", "200"), ("content-length", "5")], stream)),
        ),
        ("DATA first", Box::new(|stream| data(stream, END_STREAM, b"x"))),
        (
            "a list over the limit",
            Box::new(move |stream| {
                let block = block(&[(":status", "200"), ("x-large", large)]);
                let mut parts = block.chunks(16_000);
                let mut bytes = frame(HEADERS, END_STREAM, stream, parts.next().unwrap());
                parts.for_each(|part| bytes.extend(frame(CONTINUATION, 0, stream, part)));
                [bytes, frame(CONTINUATION, END_HEADERS, stream, &[])].concat()
            }),
        ),
        ("garbage", Box::new(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
    ];
    for (name, broken) in table {
        let (_origin, proxy) = set(&[], move |asked| {
            let answer = answer(asked.stream, "done");
            if field(&asked.head, ":path") == Some("/broken") { broken(asked.stream).into() } else { answer.into() }
        })
        .await;
        let mut client = Client::open(proxy.addr).await;
        assert_eq!(client.get(1, "/broken").await.end, Some(End::Answer(502)), "{name}");
        assert_eq!(client.get(3, "/").await.text(), "done", "{name}");
    }
}

/// Fails when: trailers or interim answers are lost or put in the wrong place between two HTTP/2 sides.
#[tokio::test]
async fn trailers_pass_both_ways() {
    let (origin, proxy) = set(&[], |asked| {
        let interim = headers(asked.stream, 0, &block(&[(":status", "103"), ("link", "</a>")]));
        let end = headers(asked.stream, END_STREAM, &block(&[("x-sum", "9")]));
        [interim, head(asked.stream), data(asked.stream, 0, b"done"), end].concat().into()
    })
    .await;
    let mut client = Client::open(proxy.addr).await;
    let end = headers(1, END_STREAM, &block(&[("x-sum", "7")]));
    client.send(&[headers(1, 0, &request("POST", "/", &[])), data(1, 0, b"abc"), end].concat()).await;
    let seen = client.until_end(1).await;
    assert_eq!((seen.text().as_str(), field(&seen.trailers, "x-sum")), ("done", Some("9")));
    let asked = origin.look(|log| log.asked[0].clone());
    assert_eq!((asked.body.as_slice(), field(&asked.trailers, "x-sum")), (&b"abc"[..], Some("7")));
    assert_eq!((field(&asked.head, ":authority"), field(&asked.head, "host")), (Some("iris.test"), None));
}

/// Fails when: a server works on for a client that has gone, before a byte of its answer came.
#[tokio::test]
async fn a_clients_reset_is_passed_on() {
    let (origin, proxy) = set(&[], |_| Vec::new().into()).await;
    let mut client = Client::open(proxy.addr).await;
    client.send(&get(1, "/")).await;
    until_true("the request", || origin.asked() == 1).await;
    client.send(&reset(1, CANCEL)).await;
    until_true("its reset", || origin.look(|log| log.resets.len()) == 1).await;
    assert_ne!(origin.look(|log| log.resets[0].1), NO_ERROR);
}
