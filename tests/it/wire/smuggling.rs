//! Ambiguous lengths: RFC 9112 sections 6.1 to 6.3, RFC 9110 section 8.6.

use super::{Bench, Case, SMUGGLED, expect, passed, post, refused};
use crate::support::{
    client::Answer,
    origin::Recorded,
    wire::{value, values},
};

/// Codings that are not exactly one `chunked`.
const CODINGS: &[&str] = &[
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunkedx\r\n",
    "Transfer-Encoding: chunk\r\n",
    "Transfer-Encoding: chunked;q=1\r\n",
    "Transfer-Encoding: chunked; a=b\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: 'chunked'\r\n",
    "Transfer-Encoding: [chunked]\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: chunked, ,\r\n",
    "Transfer-Encoding: \r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding: ,\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: chunked\x0b\r\n",
    "Transfer-Encoding: \x0cchunked\r\n",
    "Transfer-Encoding: chunked\x0c\r\n",
    "Transfer-Encoding: chun ked\r\n",
    "Transfer-Encoding: chunked\x00\r\n",
    "Transfer-Encoding: \u{a0}chunked\r\n",
    "Transfer-Encoding: chunked\u{a0}\r\n",
    "Transfer-Encoding: ch\u{17f}unked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "\tTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: chunked\r\n\t, gzip\r\n",
    "Transfer-Encoding: gzip\r\n , chunked\r\n",
    "X: x\nTransfer-Encoding: chunked\r\n",
    "X: x\rTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding\r\n: chunked\r\n",
    "\x00Transfer-Encoding: chunked\r\n",
];

/// Lengths that are none.
const LENGTHS: &[&str] = &[
    "Content-Length: 3\r\nContent-Length: 4\r\n",
    "Content-Length: 0\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\nContent-Length: 0\r\n",
    "Content-Length: 3, 4\r\n",
    "Content-Length: 3,\r\n",
    "Content-Length: ,3\r\n",
    "Content-Length: +3\r\n",
    "Content-Length: -3\r\n",
    "Content-Length: -0\r\n",
    "Content-Length: 3.0\r\n",
    "Content-Length: 3e0\r\n",
    "Content-Length: 0x3\r\n",
    "Content-Length: 3x\r\n",
    "Content-Length: 1 3\r\n",
    "Content-Length: 1_3\r\n",
    "Content-Length: \"3\"\r\n",
    "Content-Length:\r\n",
    "Content-Length: \r\n",
    "Content-Length: ,\r\n",
    "Content-Length: abc\r\n",
    "Content-Length: \u{661}\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 18446744073709551619\r\n",
    "Content-Length: 99999999999999999999999999\r\n",
    "Content-Length: 3\x00\r\n",
    "Content-Length: \x0b3\r\n",
    "Content-Length : 3\r\n",
    " Content-Length: 3\r\n",
    "Content-Length:\r\n 3\r\n",
    "Content-Length: 3\r\n 4\r\n",
    "Content-Length: 3\nContent-Length: 0\r\n",
];

/// Both; each is refused, or read by its coding alone and closed.
const BOTH: &[&str] = &[
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n",
    "content-length: 5\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: abc\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
];

fn body_is(body: &'static [u8]) -> impl Fn(&Recorded, &Answer) -> Result<(), String> {
    move |sent, _answer| {
        expect("the body", sent.body.as_slice(), body)?;
        expect("complete", sent.complete, true)?;
        let framings = values(&sent.fields, "content-length").len() + values(&sent.fields, "transfer-encoding").len();
        expect("the number of framing fields", framings, 1)
    }
}

/// Fails when: a coding that is not one `chunked` is guessed at.
#[tokio::test]
async fn codings_are_one_chunked_or_nothing() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for coding in CODINGS {
        table.push(refused(&format!("{coding:?}"), post(coding, &format!("0\r\n\r\n{SMUGGLED}"))));
    }
    for coding in ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked\t"] {
        let bytes = post(&format!("Transfer-Encoding:{coding}\r\n"), "3\r\nabc\r\n0\r\n\r\n");
        table.push(passed(coding, bytes, body_is(b"abc")));
    }
    let old = "POST /up HTTP/1.0\r\nHost: iris.test\r\nTransfer-Encoding: chunked\r\n";
    table.push(refused("in HTTP/1.0", format!("{old}\r\n0\r\n\r\n{SMUGGLED}")));
    table.push(refused("in HTTP/1.0, kept alive", format!("{old}Connection: keep-alive\r\n\r\n0\r\n\r\n{SMUGGLED}")));
    bench.run(table).await;
}

/// Fails when: a length that is no number is guessed at, or one number in two ways is passed on as two.
#[tokio::test]
async fn lengths_are_one_number_or_nothing() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for length in LENGTHS {
        table.push(refused(&format!("{length:?}"), post(length, &format!("abc{SMUGGLED}"))));
    }
    table.push(passed("one", post("Content-Length: 3\r\n", "abc"), body_is(b"abc")));
    table.push(passed("zero", post("Content-Length: 0\r\n", ""), body_is(b"")));
    table.push(passed("with white space", post("Content-Length: \t3 \t\r\n", "abc"), body_is(b"abc")));
    let twice = post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc");
    table.push(passed("the same twice", twice, body_is(b"abc")).or_refused());
    table.push(passed("a list of the same", post("Content-Length: 3, 3\r\n", "abc"), body_is(b"abc")).or_refused());
    let zeros = |sent: &Recorded, _answer: &Answer| {
        expect("the length", value(&sent.fields, "content-length").as_deref(), Some("3"))
    };
    table.push(passed("leading zeros", post("Content-Length: 0003\r\n", "abc"), zeros).or_refused());
    let named = post("Content-Length: 3\r\nConnection: content-length\r\n", "abc");
    table.push(passed("named in Connection", named, body_is(b"abc")));
    bench.run(table).await;
}

/// Fails when: a request with both is read by its length, passed on with both, or its connection goes on.
#[tokio::test]
async fn a_coding_and_a_length_never_make_two_requests() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for both in BOTH {
        let bytes = post(both, &format!("0\r\n\r\n{SMUGGLED}"));
        table.push(passed(&format!("{both:?}"), bytes, body_is(b"")).allowing(&[200, 400]).closes());
    }
    for get in ["Content-Length: 43\r\n", "Transfer-Encoding: chunked\r\n"] {
        let rest = if get.starts_with('T') { format!("2b\r\n{SMUGGLED}\r\n0\r\n\r\n") } else { SMUGGLED.to_owned() };
        assert_eq!(SMUGGLED.len(), 43);
        let bytes = format!("GET /up HTTP/1.1\r\nHost: iris.test\r\n{get}\r\n{rest}");
        table.push(passed(&format!("a body of a GET: {get:?}"), bytes, body_is(SMUGGLED.as_bytes())));
    }
    let upgrade = format!(
        "GET /up HTTP/1.1\r\nHost: iris.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: 43\r\n\r\n{SMUGGLED}"
    );
    table.push(passed("an upgrade to h2c with a body", upgrade, |sent, _| {
        expect("Upgrade", value(&sent.fields, "upgrade"), None)?;
        expect("HTTP2-Settings", value(&sent.fields, "http2-settings"), None)?;
        expect("the body", sent.body.as_slice(), SMUGGLED.as_bytes())
    }));
    bench.run(table).await;
}
