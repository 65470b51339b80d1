//! Requests and answers whose frames are right and whose fields may not be (RFC 9113 section 8), in front of a server
//! that speaks HTTP/1.1: where smuggling begins.
//!
//! What the HPACK decoder already finds wrong (names, values, methods) is an error of the connection, not of the stream:
//! the library's choice, which section 5.4.2 permits.

use super::{Client, End, Set, Want::*, frame::*};
use crate::support::{
    origin::Recorded,
    wait::until_true,
    wire::{value, values},
};

fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &request("GET", "/", more))
}

fn get_of(list: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &block(list))
}

fn post(more: &[(&str, &str)], body: &[&[u8]]) -> Vec<u8> {
    let mut bytes = headers(1, 0, &request("POST", "/up", more));
    for (index, part) in body.iter().enumerate() {
        bytes.extend(data(1, u8::from(index + 1 == body.len()), part));
    }
    bytes
}

/// Fails when: a field that HTTP/2 forbids reaches a server, where it may mean something.
#[tokio::test]
async fn fields() {
    let set = Set::new("").await;
    let mut cases = vec![
        ("an upper-case name", Refused, get_with(&[("X-Upper", "1")])),
        ("an upper-case letter inside", Refused, get_with(&[("x-uPper", "1")])),
        ("a name with a space", Refused, get_with(&[("x a", "1")])),
        ("a name with a colon", Refused, get_with(&[("x:a", "1")])),
        ("a name with CR LF", Refused, get_with(&[("x\r\ny", "1")])),
        ("a name with NUL", Refused, get_with(&[("x\0", "1")])),
        ("a name beyond ASCII", Refused, get_with(&[("x\u{e4}", "1")])),
        ("an empty name", Refused, get_with(&[("", "1")])),
        ("a value with CR LF", Refused, get_with(&[("x-a", "1\r\ntransfer-encoding: chunked")])),
        ("a value with LF", Refused, get_with(&[("x-a", "1\nx-b: 2")])),
        ("a value with CR", Refused, get_with(&[("x-a", "1\r2")])),
        ("a value with NUL", Refused, get_with(&[("x-a", "1\x002")])),
        ("a value with DEL", Refused, get_with(&[("x-a", "1\x7f2")])),
        ("a value with a space before", StreamRefused, get_with(&[("x-a", " 1")])),
        ("a value with a space after", StreamRefused, get_with(&[("x-a", "1 ")])),
        ("a value with a tab before", StreamRefused, get_with(&[("x-a", "\t1")])),
        ("a value with a tab after", StreamRefused, get_with(&[("x-a", "1\t")])),
        ("a value with a space inside", Served, get_with(&[("x-a", "1 2")])),
        ("an empty value", Served, get_with(&[("x-a", "")])),
        ("a value beyond ASCII", Served, get_with(&[("x-a", "\u{e4}\u{ff}")])),
        ("te: trailers", Served, get_with(&[("te", "trailers")])),
        ("te: gzip", StreamRefused, get_with(&[("te", "gzip")])),
        ("te: trailers, deflate", StreamRefused, get_with(&[("te", "trailers, deflate")])),
        ("an unknown expectation's name", Served, get_with(&[("priority", "u=1")])),
    ];
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-a"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
    ] {
        cases.push((name, StreamRefused, get_with(&[(name, value)])));
    }
    set.run(cases).await;
}

/// Fails when: a request is taken whose pseudo-fields are missing, doubled, unknown, late, or no request at all.
#[tokio::test]
async fn pseudo_fields() {
    let set = Set::new("").await;
    let with = |name: &str, value: &str| {
        let mut list = vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "iris.test")];
        list.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
        get_of(&list)
    };
    let without = |name: &str| {
        let list = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "iris.test")];
        get_of(&list.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>())
    };
    let mut cases = vec![
        ("no :method", StreamRefused, without(":method")),
        ("no :scheme", StreamRefused, without(":scheme")),
        ("no :path", StreamRefused, without(":path")),
        ("no authority at all", StreamRefused, without(":authority")),
        ("an unknown pseudo-field", Refused, get_with(&[(":verb", "1")])),
        (":status", StreamRefused, get_with(&[(":status", "200")])),
        (":protocol without being told of it", StreamRefused, get_with(&[(":protocol", "websocket")])),
        ("a late pseudo-field", StreamRefused, {
            get_of(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("x-a", "1"),
                (":authority", "iris.test"),
            ])
        }),
        ("an asterisk", StreamRefused, with(":path", "*")),
        ("a :scheme of https", Served, with(":scheme", "https")),
        ("a :scheme that is none", StreamRefused, with(":scheme", "1 http")),
        ("an empty :scheme", StreamRefused, with(":scheme", "")),
        ("an empty :method", Refused, with(":method", "")),
        ("a method of its own", Served, with(":method", "PURGE")),
        ("a method with a space", Refused, with(":method", "GET /smuggled HTTP/1.1")),
        ("a method with CR LF", Refused, with(":method", "GET\r\nx: y")),
        ("an authority with a port", Served, with(":authority", "iris.test:8080")),
        ("an authority that is an address", Served, with(":authority", "[::1]:80")),
        ("CONNECT", StreamRefused, get_of(&[(":method", "CONNECT"), (":authority", "iris.test:443")])),
        ("CONNECT with a path", StreamRefused, with(":method", "CONNECT")),
        (
            "OPTIONS *",
            Served,
            get_of(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")]),
        ),
        ("extended CONNECT", StreamRefused, {
            get_of(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "iris.test"),
            ])
        }),
    ];
    for twice in [(":method", "GET"), (":scheme", "http"), (":path", "/b"), (":authority", "b")] {
        let list = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "iris.test"), twice];
        cases.push(("a pseudo-field twice", StreamRefused, get_of(&list)));
    }
    for path in ["", "relative", "http://iris.test/", "/a b", "/a\r\nx: y", "/a\nb", "/a\0b", "/a\tb", "/a\x7fb", " /"]
    {
        cases.push((path, StreamRefused, with(":path", path)));
    }
    for authority in
        ["", "u@iris.test", "u:p@iris.test", "iris test", "iris.test/x", "a\r\nx: y", "iris.test:80x", "a,b", "a#b"]
    {
        // A comma is a character of names (RFC 3986 section 3.2.2), as on HTTP/1.1.
        let want = if authority == "a,b" { Served } else { StreamRefused };
        cases.push((authority, want, with(":authority", authority)));
    }
    set.run(cases).await;
}

/// Fails when: the server hears another name than the proxy went by.
#[tokio::test]
async fn hosts() {
    let set = Set::new("").await;
    let only_host =
        |host: &'static str| get_of(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", host)]);
    set.run(vec![
        ("a Host that agrees", Served, get_with(&[("host", "iris.test")])),
        ("a Host that agrees but for its case", Served, get_with(&[("host", "Iris.Test")])),
        ("a Host that disagrees", StreamRefused, get_with(&[("host", "evil.test")])),
        ("two Hosts, one of them right", StreamRefused, get_with(&[("host", "iris.test"), ("host", "evil.test")])),
        ("a Host alone", Served, only_host("iris.test")),
        ("two Hosts alone", StreamRefused, {
            get_of(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "b")])
        }),
        ("an empty Host", StreamRefused, only_host("")),
        ("a Host with a path", StreamRefused, only_host("a/b")),
    ])
    .await;
    let hosts: Vec<_> = set.blue.requests().iter().map(|one| values(&one.fields, "host")).collect();
    assert!(hosts.iter().all(|list| list == &["iris.test"]), "{hosts:?}");
}

/// Fails when: a body that does not match its length is passed on as if it were whole.
#[tokio::test]
async fn lengths() {
    let set = Set::new("").await;
    let length = |text| ("content-length", text);
    set.run(vec![
        ("a body as long as it says", Served, post(&[length("3")], &[b"abc"])),
        ("a length of 0, and a body", StreamRefused, post(&[length("0")], &[b"abc"])),
        ("a length of 0, and an empty end", Served, post(&[length("0")], &[b"", b""])),
        ("a body in parts", Served, post(&[length("3")], &[b"a", b"", b"bc"])),
        ("a body without a length", Served, post(&[], &[b"abc"])),
        ("two lengths that agree", Served, post(&[length("3"), length("3")], &[b"abc"])),
        ("more data than said", StreamRefused, post(&[length("3")], &[b"abcd"])),
        (
            "more data than said, later",
            StreamRefused,
            post(&[length("3")], &[b"abc", b"GET /smuggled HTTP/1.1\r\n\r\n"]),
        ),
        ("data after a length of 0", StreamRefused, post(&[length("0")], &[b"GET /smuggled HTTP/1.1\r\n\r\n"])),
        ("less data than said", StreamRefused, post(&[length("5")], &[b"abc"])),
        ("no data at all", StreamRefused, post(&[length("5")], &[b""])),
        ("no body, and a length", StreamRefused, headers(1, END_STREAM, &request("POST", "/", &[length("5")]))),
        ("no body, and a length of 0", Served, headers(1, END_STREAM, &request("POST", "/", &[length("0")]))),
        ("two lengths", StreamRefused, post(&[length("3"), length("4")], &[b"abc"])),
        ("a list of lengths", StreamRefused, post(&[length("3, 3")], &[b"abc"])),
        ("a length with a sign", StreamRefused, post(&[length("+3")], &[b"abc"])),
        ("a negative length", StreamRefused, post(&[length("-3")], &[b"abc"])),
        ("a length in hexadecimal", StreamRefused, post(&[length("0x3")], &[b"abc"])),
        ("an empty length", StreamRefused, post(&[length("")], &[b"abc"])),
        ("a length beyond 64 bits", StreamRefused, post(&[length("18446744073709551619")], &[b"abc"])),
    ])
    .await;
    let doubled = |one: &Recorded| values(&one.fields, "content-length").len() > 1;
    assert!(!set.blue.requests().iter().any(doubled), "the server is told one length: {:?}", set.blue.requests());
}

/// Fails when: `limits.headers_max` holds for HTTP/1.1 only, or counts each crumb of a cookie.
#[tokio::test]
async fn fields_are_counted() {
    let set = Set::new("[proxy.limits]\nheaders_max = 20").await;
    let mut client = Client::open(set.proxy.addr).await;
    for (index, (name, count, status)) in
        [("x-a", 19, 200), ("x-a", 21, 431), ("cookie", 50, 200)].into_iter().enumerate()
    {
        let stream = 2 * u32::try_from(index).unwrap() + 1;
        client.send(&headers(stream, END_STREAM, &request("GET", "/", &vec![(name, "1"); count]))).await;
        assert_eq!(client.until_end(stream).await.status(), status, "{count} of {name}");
    }
    assert_eq!(set.blue.hits(), 2);
}

/// Fails when: trailers are lost where they are announced, or break the rules and pass.
#[tokio::test]
async fn trailers() {
    let set = Set::new("").await;
    let start = |more: &[(&str, &str)]| [headers(1, 0, &request("POST", "/up", more)), data(1, 0, b"abc")].concat();
    let end = |list: &[(&str, &str)]| headers(1, END_STREAM, &block(list));
    set.run(vec![
        ("trailers", Served, [start(&[("trailer", "x-sum")]), end(&[("x-sum", "7")])].concat()),
        ("trailers that are empty", Served, [start(&[]), end(&[])].concat()),
        // Malformed, but the library drops the pseudo-field before anybody can see it; it goes no further.
        ("trailers with a pseudo-field", Served, [start(&[]), end(&[(":path", "/b")])].concat()),
        ("trailers with an upper-case name", Refused, [start(&[]), end(&[("X-Sum", "7")])].concat()),
        ("trailers without an end", Refused, [start(&[]), headers(1, 0, &block(&[("x-sum", "7")]))].concat()),
        (
            "trailers short of the length",
            StreamRefused,
            [start(&[("content-length", "5")]), end(&[("x-sum", "7")])].concat(),
        ),
    ])
    .await;
    let first = set.blue.requests().remove(0);
    assert_eq!(value(&first.trailers, "x-sum").as_deref(), Some("7"), "{first:?}");
}

/// Fails when: HTTP/1.1 is told less, or something else, than HTTP/2 said.
#[tokio::test]
async fn what_reaches_an_http1_server() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-a", "1"), ("x-a", "2")];
    client.send(&headers(1, END_STREAM, &request("GET", "/a%20b?c=d", &crumbs))).await;
    assert_eq!(client.end(1).await, End::Answer(200));
    client.send(&[headers(3, 0, &request("GET", "/body", &[])), data(3, END_STREAM, b"abc")].concat()).await;
    assert_eq!(client.end(3).await, End::Answer(200));
    client.send(&headers(5, END_STREAM, &request("POST", "/none", &[]))).await;
    assert_eq!(client.end(5).await, End::Answer(200));
    let requests = set.blue.requests();
    let [first, second, third] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(first.target, "/a%20b?c=d");
    assert_eq!(values(&first.fields, "cookie"), ["a=1; b=2"]);
    assert_eq!(values(&first.fields, "x-a"), ["1", "2"]);
    assert_eq!(values(&first.fields, "host"), ["iris.test"]);
    assert!(value(&first.fields, "content-length").is_none() && value(&first.fields, "transfer-encoding").is_none());
    assert_eq!(second.body, b"abc", "a GET may have a body");
    assert_eq!(value(&third.fields, "content-length").as_deref(), Some("0"), "{third:?}");
}

/// Fails when: an answer without a body has one, or an HTTP/1.1 field comes back.
#[tokio::test]
async fn what_comes_back() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let raw = |text: &str| format!("/?do=raw&hex={}", hex(text));
    client.send(&headers(1, END_STREAM, &request("HEAD", "/", &[]))).await;
    let head = client.until_end(1).await;
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert!(field(&head.head, "content-length").is_some(), "what a GET would have: {head:?}");
    for (index, code) in [204, 304].into_iter().enumerate() {
        let stream = 3 + 2 * u32::try_from(index).unwrap();
        let answer = client.get(stream, &format!("/?code={code}")).await;
        assert_eq!((answer.end, answer.body.len()), (Some(End::Answer(code)), 0));
    }
    let odd = raw(
        "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nX-UPPER: 1\r\ncontent-length: 2\r\n\r\nhi",
    );
    let answer = client.get(7, &odd).await;
    assert_eq!(answer.text(), "hi");
    for gone in ["connection", "keep-alive", "x-hop", "transfer-encoding", "upgrade"] {
        assert_eq!(field(&answer.head, gone), None);
    }
    assert_eq!(field(&answer.head, "x-upper"), Some("1"));
    let trailers = client.get(9, "/?do=trailers").await;
    assert_eq!((trailers.text().as_str(), field(&trailers.trailers, "x-checksum")), ("hello", Some("abc")));
    let hop = raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\nconnection: x-a\r\nx-a: 1\r\n\r\n",
    );
    let ended = client.get(11, &hop).await;
    assert_eq!((ended.end.clone(), field(&ended.trailers, "x-sum")), (Some(End::Answer(200)), Some("7")), "{ended:?}");
    let early = raw(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    );
    assert_eq!(client.get(13, &early).await.text(), "hi", "interim answers do not confuse the final one");
    assert_eq!(
        client.get(15, &raw("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")).await.status(),
        502
    );
    assert!(client.still_serves(17).await);
}

/// Fails when: a cut answer looks whole.
#[tokio::test]
async fn cut_answers_are_reset() {
    let set = Set::new("").await;
    for (how, framing) in [("fin", "length"), ("rst", "length"), ("fin", "chunked"), ("rst", "chunked")] {
        let mut client = Client::open(set.proxy.addr).await;
        client.send(&get(1, &format!("/?do=die&how={how}&frame={framing}"))).await;
        client.until("half of the answer", |client| client.seen(1).body == b"hello").await;
        set.blue.step();
        let end = client.end(1).await;
        assert!(matches!(end, End::Reset(1..)), "{how} {framing}: {end:?}");
        assert!(client.still_serves(3).await, "other streams go on");
    }
}

/// Fails when: an answer that comes before the body's end is lost, or the rest of the body is waited for.
#[tokio::test]
async fn an_early_answer_arrives() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    client
        .send(&[headers(1, 0, &request("POST", "/?do=early&code=413", &[])), data(1, 0, &[b'x'; 9000])].concat())
        .await;
    let seen = client.until_end(1).await;
    assert_eq!((seen.end.clone(), seen.text().as_str()), (Some(End::Answer(413)), "too large"));
    client.send(&data(1, END_STREAM, b"the rest")).await;
    assert!(client.still_serves(3).await, "the rest of the body is nobody's mistake");
}

/// Fails when: a client that resets its stream leaves its request at work upstream, or its half body looks whole there.
#[tokio::test]
async fn a_reset_cancels_the_request() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    for (index, code) in [8, 0, 2].into_iter().enumerate() {
        let (before, stream) = (set.blue.gone(), 1 + 4 * u32::try_from(index).unwrap());
        client.send(&get(stream, "/?do=hang")).await;
        until_true("the request", || set.blue.hits() == 2 * index as u64 + 1).await;
        client.send(&reset(stream, code)).await;
        until_true("its end at the server", || set.blue.gone() == before + 1).await;
        // The same with a body that is not complete.
        let at = set.blue.requests().len();
        client
            .send(&[headers(stream + 2, 0, &request("POST", "/half", &[])), data(stream + 2, 0, b"half")].concat())
            .await;
        until_true("half a body", || set.blue.requests().get(at).is_some_and(|one| one.body == b"half")).await;
        client.send(&reset(stream + 2, code)).await;
        let connection = set.blue.requests()[at].connection;
        until_true("its end", || set.blue.has_ended(connection)).await;
        assert!(!set.blue.requests()[at].complete, "code {code}: half a body was passed on as a whole one");
    }
    assert!(client.still_serves(99).await);
    assert_eq!(set.upstream_failures().await, 0.0);
}

/// Fails when: `mark` has a connection remember no request id, so that each answer spells out the field's name.
#[tokio::test]
async fn the_name_of_the_request_id_is_spelled_out_once() {
    let set = Set::new("").await;
    let mut client = Client::open(set.proxy.addr).await;
    let mut bytes = Vec::new();
    for stream in [1, 3, 5, 7] {
        client.send(&headers(stream, END_STREAM, &request("GET", "/", &[("x-request-id", "7")]))).await;
        let head = loop {
            let frame = client.link.frame().await.unwrap();
            if frame.kind == HEADERS {
                break frame;
            }
        };
        assert_eq!(field(&client.link.fields(&head).await.unwrap(), "x-request-id"), Some("7"));
        bytes.push(head.payload.len());
    }
    // Eight fields, five of which are known; the date may be a new one once.
    assert!(bytes[1..].iter().min() < Some(&18), "{bytes:?}");
}
