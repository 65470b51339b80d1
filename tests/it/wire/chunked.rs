//! The chunked coding: RFC 9112 section 7.1.

use super::{Bench, Case, SMUGGLED, expect, passed, post};
use crate::support::wire::value;

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A body that is none: answered 400 or cut, and never completed at the server.
fn broken(name: &str, body: &str) -> Case {
    let bytes = chunked(&format!("{body}{SMUGGLED}"));
    super::refused(name, bytes).allowing(&[0, 400, 413, 431])
}

fn whole(name: &str, body: &str, data: &'static [u8]) -> Case {
    passed(name, chunked(body), move |sent, _answer| {
        expect("the body", sent.body.as_slice(), data)?;
        expect("complete", sent.complete, true)
    })
}

/// Fails when: a broken chunk is repaired or taken for the end, or the connection goes on behind it.
#[tokio::test]
async fn broken_chunks_never_complete_a_request() {
    let bench = Bench::new("").await;
    let long = "x".repeat(40_000);
    let table = vec![
        broken("no size", "\r\nabc\r\n0\r\n\r\n"),
        broken("an extension without a size", ";a=b\r\nabc\r\n0\r\n\r\n"),
        broken("not hexadecimal", "g\r\nabc\r\n0\r\n\r\n"),
        broken("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        broken("0x0", "0x0\r\n\r\n"),
        broken("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        broken("negative", "-3\r\nabc\r\n0\r\n\r\n"),
        broken("minus zero", "-0\r\n\r\n"),
        broken("an underscore", "1_0\r\nabc\r\n0\r\n\r\n"),
        broken("a space before", " 3\r\nabc\r\n0\r\n\r\n"),
        broken("a tab before", "\t3\r\nabc\r\n0\r\n\r\n"),
        broken("a space inside", "0 3\r\nabc\r\n0\r\n\r\n"),
        broken("a point", "3.0\r\nabc\r\n0\r\n\r\n"),
        broken("2^64", "10000000000000000\r\nabc\r\n0\r\n\r\n"),
        broken("2^64 and three", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        broken("more than 64 bits", "ffffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        broken("NUL after the size", "3\x00\r\nabc\r\n0\r\n\r\n"),
        broken("a vertical tab after the size", "3\x0b\r\nabc\r\n0\r\n\r\n"),
        broken("LF after the size", "3\nabc\r\n0\r\n\r\n"),
        broken("CR after the size", "3\rabc\r\n0\r\n\r\n"),
        broken("CR CR LF after the size", "3\r\r\nabc\r\n0\r\n\r\n"),
        broken("LF after the data", "3\r\nabc\n0\r\n\r\n"),
        broken("CR after the data", "3\r\nabc\r0\r\n\r\n"),
        broken("nothing after the data", "3\r\nabc0\r\n\r\n"),
        broken("more data than the size", "3\r\nabcdef\r\n0\r\n\r\n"),
        broken("two line ends after the data", "3\r\nabc\r\n\r\n0\r\n\r\n"),
        broken("LF after the last size", "3\r\nabc\r\n0\n\r\n"),
        broken("LF at the end", "3\r\nabc\r\n0\r\n\n"),
        broken("CR CR at the end", "3\r\nabc\r\n0\r\n\r\r"),
        broken("LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        broken("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        broken("extensions beyond all measure", &format!("3;{long}\r\nabc\r\n0\r\n\r\n")),
        broken("many extensions", &format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaaa\r\nx\r\n".repeat(4000))),
        broken("a size of many zeros that never ends", &"0".repeat(70_000)).either(),
        broken("a size of many zeros", &format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(70))),
        broken("NUL in an extension", "3;a=\0\r\nabc\r\n0\r\n\r\n"),
        broken("a trailer without a colon", "3\r\nabc\r\n0\r\nnonsense\r\n\r\n"),
        broken("a trailer with a space before the colon", "3\r\nabc\r\n0\r\nx : 1\r\n\r\n"),
        broken("a trailer that is folded", "3\r\nabc\r\n0\r\nx: 1\r\n 2\r\n\r\n"),
        broken("a trailer with NUL", "3\r\nabc\r\n0\r\nx: \x00\r\n\r\n"),
        broken("a trailer with a bare CR", "3\r\nabc\r\n0\r\nx: 1\r2\r\n\r\n"),
        broken("a trailer with a bare LF", "3\r\nabc\r\n0\r\nx: 1\ny: 2\r\n\r\n"),
        broken("a trailer that ends in LF", "3\r\nabc\r\n0\r\nx: 1\n\r\n"),
        broken("a trailer without a name", "3\r\nabc\r\n0\r\n: 1\r\n\r\n"),
        broken("trailers beyond all measure", &format!("3\r\nabc\r\n0\r\n{}\r\n", "x-t: 1\r\n".repeat(30_000))),
        broken("one huge trailer", &format!("3\r\nabc\r\n0\r\nx: {}\r\n\r\n", long.repeat(3))),
    ];
    bench.run(table).await;
}

/// Fails when: a lawful way to write chunks is refused, or passed on as data.
#[tokio::test]
async fn whole_chunks_pass() {
    let bench = Bench::new("").await;
    let table = vec![
        whole("one chunk", "3\r\nabc\r\n0\r\n\r\n", b"abc"),
        whole("none", "0\r\n\r\n", b""),
        whole("upper case", "A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        whole("lower case", "a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        whole("leading zeros", "0003\r\nabc\r\n000\r\n\r\n", b"abc"),
        whole("many", &format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(8)), b"xxxxxxxx"),
        whole("an extension", "3;a=b\r\nabc\r\n0\r\n\r\n", b"abc"),
        whole("an extension without a value", "3;a\r\nabc\r\n0;z\r\n\r\n", b"abc"),
        whole("a quoted extension", "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", b"abc"),
        whole("white space before an extension", "3 ;a=b\r\nabc\r\n0\r\n\r\n", b"abc").or_refused(),
        whole("data that looks like an end", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
        whole("white space after the size", "3 \r\nabc\r\n0\r\n\r\n", b"abc").or_refused(),
        passed(
            "trailers that are announced",
            post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"),
            |sent, _| expect("the trailer", value(&sent.trailers, "x-sum").as_deref(), Some("42")),
        ),
        passed("trailers that are not announced", chunked("3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"), |sent, _| {
            expect("a field", value(&sent.fields, "x-sum"), None)
        }),
        passed(
            "trailers that are none",
            post(
                "Transfer-Encoding: chunked\r\nTrailer: content-length, host, transfer-encoding, authorization\r\n",
                "3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nTransfer-Encoding: x\r\nAuthorization: x\r\n\r\n",
            ),
            |sent, _| {
                expect("the trailers", sent.trailers.len(), 0)?;
                expect("the host", value(&sent.fields, "host").as_deref(), Some("iris.test"))
            },
        )
        .or_refused(),
    ];
    bench.run(table).await;
}

/// Fails when: an upstream request is completed although its client broke off.
#[tokio::test]
async fn a_body_that_breaks_off_is_not_completed() {
    let bench = Bench::new("").await;
    for bytes in [
        chunked("3\r\nabc\r\n"),
        chunked("5\r\nabc"),
        chunked("3\r\nabc\r\n0\r\n"),
        post("Content-Length: 9\r\n", "abc"),
    ] {
        let before = bench.blue.hits();
        let mut conn = bench.proxy.conn().await;
        conn.send(bytes.as_bytes()).await;
        crate::support::wait::until_true("the request", || bench.blue.hits() > before).await;
        let connection = bench.blue.requests().pop().unwrap().connection;
        drop(conn);
        crate::support::wait::until_true("the server's connection to end", || bench.blue.has_ended(connection)).await;
        assert!(!bench.blue.requests().pop().unwrap().complete, "{bytes}");
    }
}
