//! How the length of an answer is told, and what an end before that length is.

use super::*;

fn bad() -> Seen {
    Refused("upstream_malformed")
}

fn sized(name: &'static str, fields: &str, body: &str, seen: Seen, after: After) -> Row {
    row(name, answer(&format!("HTTP/1.1 200 OK|x-origin: 1|{fields}"), body), Keep, seen, after)
}

/// Fails when: a length that cannot be trusted is trusted, or one that can is refused.
#[tokio::test]
async fn lengths() {
    let fine = || Whole(200, "hello");
    let rows = vec![
        sized("plain", "content-length: 5", "hello", fine(), Reused),
        sized("leading zeros", "content-length: 0005", "hello", fine(), Reused),
        sized("twice, equal", "content-length: 5|content-length: 5", "hello", fine(), Reused),
        sized("a list, equal", "content-length: 5, 5", "hello", fine(), Reused),
        sized("twice, unequal", "content-length: 5|content-length: 6", "hello", bad(), Discarded),
        sized("a list, unequal", "content-length: 5, 6", "hello", bad(), Discarded),
        sized("a plus", "content-length: +5", "hello", bad(), Discarded),
        sized("negative", "content-length: -5", "hello", bad(), Discarded),
        sized("hexadecimal", "content-length: 0x5", "hello", bad(), Discarded),
        sized("text", "content-length: five", "hello", bad(), Discarded),
        sized("empty", "content-length:", "hello", bad(), Discarded),
        sized("an empty member", "content-length: 5,", "hello", bad(), Discarded),
        sized("two numbers", "content-length: 5 5", "hello", bad(), Discarded),
        sized("a fraction", "content-length: 5.0", "hello", bad(), Discarded),
        sized("an underscore", "content-length: 5_0", "hello", bad(), Discarded),
        sized("2^64", "content-length: 18446744073709551616", "hello", bad(), Discarded),
        sized("2^64 - 1", "content-length: 18446744073709551615", "hello", bad(), Discarded),
        sized("more than any number", &format!("content-length: {}", "9".repeat(100)), "hello", bad(), Discarded),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: a coding that is not a single `chunked` is passed on as if it were, or both lengths reach the client.
#[tokio::test]
async fn codings() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let fine = || Whole(200, "hello");
    let rows = vec![
        sized("chunked", "transfer-encoding: chunked", chunks, fine(), Reused),
        sized("Chunked", "Transfer-Encoding: Chunked", chunks, fine(), Reused),
        sized("with spaces", "transfer-encoding:  chunked \t", chunks, fine(), Reused),
        sized("with a length", "transfer-encoding: chunked|content-length: 3", chunks, fine(), Discarded),
        sized("a length first", "content-length: 3|transfer-encoding: chunked", chunks, fine(), Discarded),
        sized("with a bad length", "transfer-encoding: chunked|content-length: x", chunks, bad(), Discarded),
        sized("twice", "transfer-encoding: chunked|transfer-encoding: chunked", chunks, bad(), Discarded),
        sized("twice in a list", "transfer-encoding: chunked, chunked", chunks, bad(), Discarded),
        sized("gzip, chunked", "transfer-encoding: gzip, chunked", chunks, bad(), Discarded),
        sized(
            "gzip in a line of its own",
            "transfer-encoding: gzip|transfer-encoding: chunked",
            chunks,
            bad(),
            Discarded,
        ),
        sized("chunked, gzip", "transfer-encoding: chunked, gzip", chunks, bad(), Discarded),
        sized("gzip", "transfer-encoding: gzip", "hello", bad(), Discarded),
        sized("identity", "transfer-encoding: identity", "hello", bad(), Discarded),
        sized("unknown", "transfer-encoding: x-mine", "hello", bad(), Discarded),
        sized("empty", "transfer-encoding:", "hello", bad(), Discarded),
        sized("a trailing comma", "transfer-encoding: chunked,", chunks, bad(), Discarded),
        sized("a leading comma", "transfer-encoding: ,chunked", chunks, bad(), Discarded),
        sized("a parameter", "transfer-encoding: chunked;q=1", chunks, bad(), Discarded),
        sized("quoted", "transfer-encoding: \"chunked\"", chunks, bad(), Discarded),
        sized("a vertical tab before", "transfer-encoding: \x0bchunked", chunks, bad(), Discarded),
        row(
            "in HTTP/1.0",
            answer("HTTP/1.0 200 OK|x-origin: 1|transfer-encoding: chunked", chunks),
            Keep,
            bad(),
            Discarded,
        ),
        sized("other codings are content", "content-encoding: gzip|content-length: 5", "hello", fine(), Reused),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: chunks that are correct and rare are refused.
#[tokio::test]
async fn rare_chunks() {
    let chunked = |name, body: &str, whole| sized(name, "transfer-encoding: chunked", body, Whole(200, whole), Reused);
    let rows = vec![
        chunked("an extension", "5;x=y\r\nhello\r\n0\r\n\r\n", "hello"),
        chunked("a quoted extension", "5;x=\"y z\"\r\nhello\r\n0\r\n\r\n", "hello"),
        chunked("an extension of the last chunk", "5\r\nhello\r\n0;end\r\n\r\n", "hello"),
        chunked("upper case", "A\r\nhellohello\r\n0\r\n\r\n", "hellohello"),
        chunked("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"),
        chunked("many", &format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(16)), "aaaaaaaaaaaaaaaa"),
        chunked("nothing", "0\r\n\r\n", ""),
        chunked("trailers", "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", "hello"),
        chunked("bytes that look like an end", "7\r\n0\r\n\r\nhi\r\n0\r\n\r\n", "0\r\n\r\nhi"),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: a broken chunk looks like a clean end to the client.
#[tokio::test]
async fn broken_chunks() {
    let broken = |name, rest: &str| {
        let body = format!("5\r\nhello\r\n{rest}");
        sized(name, "transfer-encoding: chunked", &body, Cut(200), Discarded)
    };
    let rows = vec![
        sized("no number at all", "transfer-encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n", Cut(200), Discarded),
        broken("no number", "zz\r\nhello\r\n0\r\n\r\n"),
        broken("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        broken("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        broken("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        broken("an overflow", "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        broken("an empty size", "\r\nhello\r\n0\r\n\r\n"),
        broken("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        broken("more data than said", "3\r\nhello\r\n0\r\n\r\n"),
        broken("less data than said", "7\r\nhello\r\n0\r\n\r\n"),
        broken("no CRLF after the data", "5\r\nhello0\r\n\r\n"),
        broken("LF after the data", "5\r\nhello\n0\r\n\r\n"),
        broken("LF after the size", "5\nhello\r\n0\r\n\r\n"),
        broken("a malformed trailer", "0\r\nno colon\r\n\r\n"),
        broken("extensions without end", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 * 1024))),
        broken("trailers without end", &format!("0\r\n{}\r\n", "x-t: v\r\n".repeat(20_000))),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: an answer that broke off ends cleanly over HTTP/1.1, or one that ends with its connection does not.
#[tokio::test]
async fn ends() {
    let head = "HTTP/1.1 200 OK|x-origin: 1";
    let length = answer(&format!("{head}|content-length: 9"), "hello");
    let none = answer(&format!("{head}|content-length: 9"), "");
    let chunk = answer(&format!("{head}|transfer-encoding: chunked"), "5\r\nhello\r\n");
    let inside = answer(&format!("{head}|transfer-encoding: chunked"), "9\r\nhello");
    let last = answer(&format!("{head}|transfer-encoding: chunked"), "5\r\nhello\r\n0\r\n");
    let trailer = answer(&format!("{head}|transfer-encoding: chunked"), "5\r\nhello\r\n0\r\nx-t: 1\r\n");
    let close = answer(head, "hello");
    let rows = vec![
        row("length, FIN", &length, Fin, Cut(200), Discarded),
        row("length, RST", &length, Rst, Cut(200), Discarded),
        row("length and no byte, FIN", &none, Fin, Cut(200), Discarded),
        row("between chunks, FIN", &chunk, Fin, Cut(200), Discarded),
        row("between chunks, RST", &chunk, Rst, Cut(200), Discarded),
        row("inside a chunk, FIN", &inside, Fin, Cut(200), Discarded),
        row("inside a chunk, RST", &inside, Rst, Cut(200), Discarded),
        row("inside the last chunk, FIN", &last, Fin, Cut(200), Discarded),
        row("inside the trailers, FIN", &trailer, Fin, Cut(200), Discarded),
        row("until the close, FIN", &close, Fin, Whole(200, "hello"), Discarded),
        row("until the close, HTTP/1.0", answer("HTTP/1.0 200 OK", "hello"), Fin, Whole(200, "hello"), Discarded),
        row("until the close, empty", answer(head, ""), Fin, Whole(200, ""), Discarded),
        row(
            "until the close, keep-alive named",
            answer(&format!("{head}|connection: keep-alive"), "hello"),
            Fin,
            Whole(200, "hello"),
            Discarded,
        ),
        row("inside the status line", "HTTP/1.1 20", Fin, Refused("upstream_closed"), Discarded),
        row("inside the fields", "HTTP/1.1 200 OK\r\nx-origin: ", Fin, Refused("upstream_closed"), Discarded),
        row("before the empty line", "HTTP/1.1 200 OK\r\nx-origin: 1\r\n", Fin, Refused("upstream_closed"), Discarded),
        row("inside the fields, RST", "HTTP/1.1 200 OK\r\nx-origin: ", Rst, Refused("upstream_closed"), Discarded),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: an answer that broke off ends cleanly over HTTP/2, or without an error code.
#[tokio::test]
async fn ends_over_http2() {
    let stage = Stage::new().await;
    for (fields, body, end) in [
        ("content-length: 9", "hello", Step::Fin),
        ("content-length: 9", "hello", Step::Rst),
        ("transfer-encoding: chunked", "5\r\nhello\r\n", Step::Fin),
        ("transfer-encoding: chunked", "5\r\nhello\r\n", Step::Rst),
        ("transfer-encoding: chunked", "5\r\nhello\r\nzz\r\n", Step::Drain),
        ("x-a: 1", "hello", Step::Rst),
    ] {
        let path = stage.origin.path();
        let head = answer(&format!("HTTP/1.1 200 OK|{fields}"), "");
        stage
            .origin
            .script(&path, vec![Step::Send(head), Step::Gate, Step::Send(body.into()), Step::Gate, end.clone()]);
        stage.origin.go();
        stage.origin.go();
        let (status, result) = stage.over_http2(&path).await;
        let reason = result.expect_err("a clean end");
        assert!(
            status == 200 && reason.is_some() && reason != Some(h2::Reason::NO_ERROR),
            "{fields} {end:?} {reason:?}"
        );
    }
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Send(answer("HTTP/1.1 200 OK", "hello")), Step::Fin]);
    assert_eq!(stage.over_http2(&path).await, (200, Ok(b"hello".to_vec())));
}

/// A reset that comes behind an unframed body is no end. Fails when: it looks like one.
#[tokio::test]
async fn a_reset_is_no_end_of_an_unframed_answer() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Send(answer("HTTP/1.1 200 OK", "hello")), Step::Gate, Step::Rst]);
    let mut conn = stage.proxy.conn().await;
    conn.send(&get(&path)).await;
    let head = conn.head().await;
    assert_eq!(conn.wire.chunk().await.unwrap(), "hello");
    stage.origin.go();
    assert!(within("the cut", conn.try_rest(head)).await.is_err());
    assert!(stage.failures("upstream_cut").await >= 1.0);
}

/// Fails when: an answer of HTTP/1.0 makes the proxy speak HTTP/1.0 afterwards, which loses chunked request bodies.
#[tokio::test]
async fn an_old_server_is_spoken_to_in_http11() {
    let stage = Stage::new().await;
    let mut conn = stage.proxy.conn().await;
    for _ in 0..3 {
        let path = stage.origin.path();
        let old = answer("HTTP/1.0 200 OK|connection: keep-alive|content-length: 2", "ok");
        stage.origin.script(&path, vec![Step::Send(old)]);
        assert_eq!(conn.call(&get(&path)).await.text(), "ok");
        let chunked = "POST /next HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = conn.call(chunked.as_bytes()).await;
        assert_eq!(answer.status, 200);
        let taken = stage.origin.last("/next");
        assert!(taken.head.contains(" HTTP/1.1\r\n"), "{}", taken.head);
        assert_eq!(stage.origin.body(taken.connection), b"hello", "the body must not be lost");
        stage.origin.script("/next", vec![Step::Send(answer_close()), Step::Close]);
        conn.call(&get("/next")).await;
    }
}

fn answer_close() -> Vec<u8> {
    answer("HTTP/1.1 200 OK|connection: close|content-length: 0", "")
}
