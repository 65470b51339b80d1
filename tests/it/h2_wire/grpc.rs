//! gRPC's own rules, frame by frame: deadlines, and statuses that nobody invented (gRPC over HTTP/2).

use std::time::{Duration, Instant};

use super::{
    Client, End,
    client::Seen,
    frame::*,
    origin::{Asked, H2Origin, Reaction, Script},
};
use crate::support::{
    config::{Config, Service},
    proxy::Proxy,
    wait::until_true,
};

async fn set(script: impl Fn(&Asked) -> Reaction + Send + Sync + 'static) -> (H2Origin, Proxy) {
    let origin = H2Origin::start(&[], script).await;
    let proxy = Proxy::ready(&Config::new(vec![Service::new("iris", &origin.url(), "")])).await;
    (origin, proxy)
}

fn call(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[("content-type", "application/grpc"), ("te", "trailers")], more].concat();
    let head = headers(stream, 0, &request("POST", "/test.Echo/Unary", &fields));
    [head, data(stream, END_STREAM, b"\0\0\0\0\x02hi")].concat()
}

fn begun(stream: u32) -> Vec<u8> {
    headers(stream, 0, &block(&[(":status", "200"), ("content-type", "application/grpc")]))
}

fn status(stream: u32, code: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &block(&[("grpc-status", code)]))
}

/// Fails when: a deadline is not kept, is kept early, is not told to the server, or leaves it at work.
#[tokio::test]
async fn deadlines_are_kept() {
    let (origin, proxy) = set(|_| Vec::new().into()).await;
    let mut client = Client::open(proxy.addr).await;
    for (index, (timeout, least)) in [("300m", 300), ("1u", 0), ("0S", 0), ("400000u", 400)].into_iter().enumerate() {
        let stream = 2 * u32::try_from(index).unwrap() + 1;
        let began = Instant::now();
        client.send(&call(stream, &[("grpc-timeout", timeout)])).await;
        let seen = client.until_end(stream).await;
        assert_eq!((seen.status(), seen.grpc_status()), (200, Some("4")), "{timeout}: {seen:?}");
        assert_eq!(field(&seen.head, "x-verdigris-error"), Some("deadline_exceeded"));
        assert!(began.elapsed() >= Duration::from_millis(least), "{timeout} after {:?}", began.elapsed());
    }
    until_true("the server's release", || origin.look(|log| log.resets.len() == log.asked.len())).await;
    assert_eq!(
        origin.look(|log| field(&log.asked[0].head, "grpc-timeout").map(str::to_owned)).as_deref(),
        Some("300m")
    );
    let counted = proxy.metric("verdigris_request_failures_total", &["kind=\"deadline_exceeded\""]).await;
    assert_eq!(counted, 4.0);
}

/// Fails when: a stream whose deadline is over in the middle goes on, or ends with another status.
#[tokio::test]
async fn deadlines_are_kept_inside_an_answer() {
    let (origin, proxy) =
        set(|asked| [begun(asked.stream), data(asked.stream, 0, b"\0\0\0\0\x02ok")].concat().into()).await;
    let mut client = Client::open(proxy.addr).await;
    client.send(&call(1, &[("grpc-timeout", "300m")])).await;
    let seen = client.until_end(1).await;
    assert_eq!((seen.body.len(), seen.grpc_status()), (7, Some("4")), "{seen:?}");
    until_true("the server's release", || origin.look(|log| log.resets.len()) == 1).await;
}

/// Fails when: what is no deadline is taken for one. It is the server's to judge.
#[tokio::test]
async fn odd_deadlines_are_passed_on() {
    let (origin, proxy) = set(|asked| [begun(asked.stream), status(asked.stream, "0")].concat().into()).await;
    let mut client = Client::open(proxy.addr).await;
    for (index, odd) in ["1", "1s", "-1S", "100000000n", "S", "1.5S", "", "99999999H"].into_iter().enumerate() {
        let stream = 2 * u32::try_from(index).unwrap() + 1;
        client.send(&call(stream, &[("grpc-timeout", odd)])).await;
        assert_eq!(client.until_end(stream).await.grpc_status(), Some("0"), "{odd:?}");
        let last = origin.look(|log| log.asked[index].head.clone());
        assert_eq!(field(&last, "grpc-timeout"), Some(odd));
        assert_eq!(field(&last, "te"), Some("trailers"));
    }
}

/// Fails when: a call that broke off ends with a status that nobody gave, above all 0.
#[tokio::test]
async fn no_status_is_invented() {
    let half = |asked: &Asked| [begun(asked.stream), data(asked.stream, 0, b"\0\0\0\0\x02ok")].concat();
    let table: Vec<(&str, Box<Script>)> = vec![
        ("a close", Box::new(move |asked| Reaction { bytes: half(asked), closes: true })),
        ("a reset", Box::new(move |asked| [half(asked), reset(asked.stream, 8)].concat().into())),
        ("a reset without an error", Box::new(move |asked| [half(asked), reset(asked.stream, 0)].concat().into())),
        (
            "GOAWAY with an error",
            Box::new(move |asked| Reaction { bytes: [half(asked), goaway(0, 2)].concat(), closes: true }),
        ),
        ("a close without an answer", Box::new(|_| Reaction { bytes: Vec::new(), closes: true })),
        ("a reset without an answer", Box::new(|asked| reset(asked.stream, 2).into())),
    ];
    for (name, script) in table {
        let (_origin, proxy) = set(script).await;
        let mut client = Client::open(proxy.addr).await;
        client.send(&call(1, &[])).await;
        let seen = client.until_end(1).await;
        let honest = match (&seen.end, seen.grpc_status()) {
            (Some(End::Reset(1..)), None) => true,
            (Some(End::Answer(200)), Some(code)) => code != "0",
            _ => false,
        };
        assert!(honest, "{name}: {seen:?}");
    }
}

/// Fails when: a server's own words are changed: trailers-only, messages, and answers that are not gRPC.
#[tokio::test]
async fn what_the_server_says_passes() {
    let (_origin, proxy) = set(|asked| {
        let fields = match asked.before {
            0 => block(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                ("grpc-message", "no%20such%20model%21"),
            ]),
            _ => block(&[(":status", "502"), ("content-type", "text/html")]),
        };
        headers(asked.stream, END_STREAM, &fields).into()
    })
    .await;
    let mut client = Client::open(proxy.addr).await;
    client.send(&call(1, &[])).await;
    let seen: Seen = client.until_end(1).await;
    assert_eq!((seen.grpc_status(), field(&seen.head, "grpc-message")), (Some("5"), Some("no%20such%20model%21")));
    client.send(&call(3, &[])).await;
    let seen = client.until_end(3).await;
    assert_eq!((seen.status(), seen.grpc_status(), field(&seen.head, "content-type")), (502, None, Some("text/html")));
}
