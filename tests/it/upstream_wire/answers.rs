//! Status lines, field lines, sizes, interim answers, and answers that have no body whatever follows them.

use super::*;

const OK: &str = "HTTP/1.1 200 OK|x-origin: 1|content-length: 2";

/// A status line before fields and body that are in order.
fn line(name: &'static str, first: &str, seen: Seen) -> Row {
    let after = if matches!(seen, Whole(..)) { Reused } else { Discarded };
    row(name, answer(&format!("{first}|x-origin: 1|content-length: 2"), "ok"), Keep, seen, after)
}

/// Fails when: bytes that are no status line of HTTP/1 are passed on, taken for another, or leave the connection in use.
#[tokio::test]
async fn status_lines() {
    let bad = || Refused("upstream_malformed");
    let rows = vec![
        line("plain", "HTTP/1.1 200 OK", Whole(200, "ok")),
        line("no reason, with its space", "HTTP/1.1 200 ", Whole(200, "ok")),
        line("no reason, no space", "HTTP/1.1 200", Whole(200, "ok")),
        line("a reason of its own", "HTTP/1.1 200 Fine by me", Whole(200, "ok")),
        line("a reason with high bytes", "HTTP/1.1 200 Sch\u{f6}n", Whole(200, "ok")),
        line("an unknown status", "HTTP/1.1 299 Odd", Whole(299, "ok")),
        line("a client error", "HTTP/1.1 418 Teapot", Whole(418, "ok")),
        line("four digits", "HTTP/1.1 2000 OK", bad()),
        line("two digits", "HTTP/1.1 20 OK", bad()),
        line("one digit", "HTTP/1.1 2 OK", bad()),
        line("no digits", "HTTP/1.1 abc OK", bad()),
        line("digits and a letter", "HTTP/1.1 20x OK", bad()),
        line("a signed status", "HTTP/1.1 +20 OK", bad()),
        line("status zero", "HTTP/1.1 000 No", bad()),
        line("status below 100", "HTTP/1.1 099 No", bad()),
        line("status above 599", "HTTP/1.1 600 No", Whole(600, "ok")),
        line("status 999", "HTTP/1.1 999 No", Whole(999, "ok")),
        line("no status", "HTTP/1.1", bad()),
        line("no space", "HTTP/1.1200 OK", bad()),
        line("two spaces", "HTTP/1.1  200 OK", bad()),
        line("a tab for the space", "HTTP/1.1\t200 OK", bad()),
        line("HTTP/2.0", "HTTP/2.0 200 OK", bad()),
        line("HTTP/2", "HTTP/2 200 OK", bad()),
        line("HTTP/3.0", "HTTP/3.0 200 OK", bad()),
        line("HTTP/0.9", "HTTP/0.9 200 OK", bad()),
        line("HTTP/1.2", "HTTP/1.2 200 OK", bad()),
        line("HTTP/1", "HTTP/1 200 OK", bad()),
        line("HTTP/1.10", "HTTP/1.10 200 OK", bad()),
        line("HTTP/11.1", "HTTP/11.1 200 OK", bad()),
        line("lower case", "http/1.1 200 OK", bad()),
        line("ICY", "ICY 200 OK", bad()),
        line("a request", "GET / HTTP/1.1", bad()),
        line("a space before", " HTTP/1.1 200 OK", bad()),
        line("junk before", "xHTTP/1.1 200 OK", bad()),
        line("NUL in the reason", "HTTP/1.1 200 O\0K", bad()),
        line("CR in the reason", "HTTP/1.1 200 O\rK", bad()),
        line("bell in the reason", "HTTP/1.1 200 O\x07K", bad()),
        row("not HTTP", "this is not HTTP at all\r\n\r\n", Keep, bad(), Discarded),
        row("SSH", "SSH-2.0-OpenSSH_9.6\r\n", Keep, bad(), Discarded),
        row("binary", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Keep, bad(), Discarded),
        row("HTTP/2 frames", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0", Keep, bad(), Discarded),
        row("HTML without a head", "<html>hello</html>", Fin, bad(), Discarded),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: a malformed field line is passed on or mended, or a rare but correct one is refused.
#[tokio::test]
async fn field_lines() {
    let bad = || Refused("upstream_malformed");
    let fine = || Whole(200, "ok");
    let with = |name, field: &str, seen| {
        let after = if matches!(seen, Whole(..)) { Reused } else { Discarded };
        row(name, answer(&format!("{OK}|{field}"), "ok"), Keep, seen, after)
    };
    let rows = vec![
        with("a space before the colon", "x-a : 1", bad()),
        with("a tab before the colon", "x-a\t: 1", bad()),
        with("a space before the name", " x-a: 1", bad()),
        with("a fold", "x-a: 1| 2", bad()),
        with("a fold by tab", "x-a: 1|\t2", bad()),
        with("no colon", "x-a", bad()),
        with("no name", ": 1", bad()),
        with("a space in the name", "x a: 1", bad()),
        with("a parenthesis in the name", "x(a: 1", bad()),
        with("a high byte in the name", "x-\u{e9}: 1", bad()),
        with("NUL in the name", "x-\0a: 1", bad()),
        with("NUL in the value", "x-a: 1\x002", bad()),
        with("a bare CR in the value", "x-a: 1\r2", bad()),
        with("a bare CR at the value's end", "x-a: 1\r", bad()),
        with("a bell in the value", "x-a: 1\x072", bad()),
        with("DEL in the value", "x-a: 1\x7f2", bad()),
        with("no value", "x-a:", fine()),
        with("spaces for a value", "x-a:   ", fine()),
        with("no space after the colon", "x-a:1", fine()),
        with("tabs round the value", "x-a:\t1\t", fine()),
        with("a tab in the value", "x-a: 1\t2", fine()),
        with("high bytes in the value", "x-a: Sch\u{f6}n", fine()),
        with("every mark a name may have", "x!#$%&'*+-.^_`|~: 1".replace('|', "").as_str(), fine()),
        with("a long value", &format!("x-a: {}", "v".repeat(60_000)), fine()),
        with("ninety fields", &many(90), fine()),
    ];
    Stage::new().await.play(rows).await;
}

fn many(count: usize) -> String {
    (0..count).map(|number| format!("x-f{number}: v")).collect::<Vec<_>>().join("|")
}

/// Fails when: a head without bounds is read on and on, or part of it passed on.
#[tokio::test]
async fn heads_are_bounded() {
    let stage = Stage::new().await;
    let bad = || Refused("upstream_malformed");
    let huge = |field: &str| answer(&format!("{OK}|{field}"), "ok");
    let rows = vec![
        row("too many fields", huge(&many(2000)), Keep, bad(), Discarded),
        row("a field of 600 KiB", huge(&format!("x-a: {}", "v".repeat(600 * 1024))), Keep, bad(), Discarded),
        row(
            "a reason of 600 KiB",
            answer(&format!("HTTP/1.1 200 {}", "r".repeat(600 * 1024)), ""),
            Keep,
            bad(),
            Discarded,
        ),
        row(
            "600 KiB and no end",
            format!("HTTP/1.1 200 OK\r\nx-a: {}", "v".repeat(600 * 1024)),
            Keep,
            bad(),
            Discarded,
        ),
    ];
    stage.play(rows).await;
    // And one that never ends at all.
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Send(b"HTTP/1.1 200 OK\r\nx-a: ".to_vec()), Step::Flood]);
    let answer = stage.proxy.once(&get(&path)).await;
    assert_eq!((answer.status, answer.error().as_deref()), (502, Some("upstream_malformed")));
    until_true("the endless head to be left", || stage.origin.flooded() > 0).await;
    assert!(stage.failures("upstream_malformed").await >= 5.0);
}

/// Fails when: an interim answer is taken for the final one, or whatever follows it is lost.
#[tokio::test]
async fn interim_answers() {
    let bad = || Refused("upstream_malformed");
    let fine = || Whole(200, "ok");
    let then = |name, before: &str| {
        row(name, [before.replace('|', "\r\n").as_bytes(), &answer(OK, "ok")].concat(), Keep, fine(), Reused)
    };
    let rows = vec![
        then("100", "HTTP/1.1 100 Continue||"),
        then("100 without a reason", "HTTP/1.1 100||"),
        then("100 with fields", "HTTP/1.1 100 Continue|x-origin: 1||"),
        then("102", "HTTP/1.1 102 Processing||"),
        then("103", "HTTP/1.1 103 Early Hints|link: </a>; rel=preload||"),
        then("104", "HTTP/1.1 104 Upload Resumption Supported||"),
        then("199", "HTTP/1.1 199 Odd||"),
        then("several", "HTTP/1.1 100 Continue||HTTP/1.1 103 Early Hints|link: </a>||HTTP/1.1 102 Processing||"),
        then("103 with a length", "HTTP/1.1 103 Early Hints|content-length: 5||"),
        row(
            "103 with a body",
            [&answer("HTTP/1.1 103 Early Hints|content-length: 5", "hello")[..], &answer(OK, "ok")].concat(),
            Keep,
            bad(),
            Discarded,
        ),
        row(
            "103 and a malformed final one",
            [&answer("HTTP/1.1 103 Early Hints", "")[..], b"HTTP/1.1 2x0 OK\r\n\r\n"].concat(),
            Keep,
            bad(),
            Discarded,
        ),
        row("103 and the end", answer("HTTP/1.1 103 Early Hints", ""), Fin, Refused("upstream_closed"), Discarded),
        row(
            "101 unasked",
            answer("HTTP/1.1 101 Switching Protocols|x-origin: 1|upgrade: foo|connection: upgrade", "raw"),
            Keep,
            bad(),
            Discarded,
        ),
        row("101 unasked and bare", answer("HTTP/1.1 101 Switching Protocols|x-origin: 1", ""), Keep, bad(), Discarded),
        row(
            "101 unasked and a final one",
            [&answer("HTTP/1.1 101 Switching Protocols", "")[..], &answer(OK, "ok")].concat(),
            Keep,
            bad(),
            Discarded,
        ),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: something that has no body gets one, or what follows is taken for the next answer.
#[tokio::test]
async fn answers_without_a_body() {
    let extra = "HTTP/1.1 200 OK\r\nx-origin: 2\r\ncontent-length: 6\r\n\r\npoison";
    let rows = vec![
        row("204", answer("HTTP/1.1 204 No Content", ""), Keep, Whole(204, ""), Reused),
        row("204 with length 0", answer("HTTP/1.1 204 No Content|content-length: 0", ""), Keep, Whole(204, ""), Reused),
        row(
            "204 with a body",
            answer("HTTP/1.1 204 No Content|content-length: 5", "hello"),
            Keep,
            Whole(204, ""),
            Discarded,
        ),
        row(
            "204 with chunks",
            answer("HTTP/1.1 204 No Content|transfer-encoding: chunked", "0\r\n\r\n"),
            Keep,
            Whole(204, ""),
            Discarded,
        ),
        row("204 and another answer", answer("HTTP/1.1 204 No Content", extra), Keep, Whole(204, ""), Discarded),
        row("304", answer("HTTP/1.1 304 Not Modified|etag: \"a\"", ""), Keep, Whole(304, ""), Reused),
        row(
            "304 with a length",
            answer("HTTP/1.1 304 Not Modified|content-length: 5", ""),
            Keep,
            Whole(304, ""),
            Reused,
        ),
        row(
            "304 with a body",
            answer("HTTP/1.1 304 Not Modified|content-length: 5", "hello"),
            Keep,
            Whole(304, ""),
            Discarded,
        ),
        row("205", answer("HTTP/1.1 205 Reset Content|content-length: 0", ""), Keep, Whole(205, ""), Reused),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: an answer to HEAD is waited for beyond its head, or a length that is none is passed on with it.
#[tokio::test]
async fn answers_to_head() {
    let extra = "HTTP/1.1 200 OK\r\nx-origin: 2\r\ncontent-length: 6\r\n\r\npoison";
    let rows = vec![
        row("HEAD", answer("HTTP/1.1 200 OK|content-length: 5", ""), Keep, Whole(200, ""), Reused).method("HEAD"),
        row(
            "HEAD with chunked named",
            answer("HTTP/1.1 200 OK|transfer-encoding: chunked", ""),
            Keep,
            Whole(200, ""),
            Reused,
        )
        .method("HEAD"),
        row("HEAD without a length", answer("HTTP/1.1 200 OK|x-a: 1", ""), Keep, Whole(200, ""), Reused).method("HEAD"),
        row(
            "HEAD with a body, as Triton",
            answer("HTTP/1.1 405 No|content-length: 30", "{\"error\":\"Method Not Allowed\"}\n"),
            Keep,
            Whole(405, ""),
            Discarded,
        )
        .method("HEAD"),
        row(
            "HEAD and another answer",
            answer("HTTP/1.1 200 OK|content-length: 6", extra),
            Keep,
            Whole(200, ""),
            Discarded,
        )
        .method("HEAD"),
        row(
            "HEAD with a bad length",
            answer("HTTP/1.1 200 OK|x-origin: 1|content-length: ten", ""),
            Keep,
            Refused("upstream_malformed"),
            Discarded,
        )
        .method("HEAD"),
        row(
            "HEAD with two lengths",
            answer("HTTP/1.1 200 OK|x-origin: 1|content-length: 1|content-length: 2", ""),
            Keep,
            Refused("upstream_malformed"),
            Discarded,
        )
        .method("HEAD"),
        row(
            "304 with a bad length",
            answer("HTTP/1.1 304 No|x-origin: 1|content-length: -1", ""),
            Keep,
            Refused("upstream_malformed"),
            Discarded,
        ),
        row(
            "HEAD and until the close",
            answer("HTTP/1.1 200 OK|connection: close", ""),
            Fin,
            Whole(200, ""),
            Discarded,
        )
        .method("HEAD"),
    ];
    Stage::new().await.play(rows).await;
}

/// Fails when: the length that a HEAD or a 304 tells is lost, or one is invented.
#[tokio::test]
async fn the_length_of_what_is_not_sent_is_passed_on() {
    let stage = Stage::new().await;
    for (method, head, length) in [
        ("HEAD", "HTTP/1.1 200 OK|content-length: 1234", Some("1234")),
        ("HEAD", "HTTP/1.1 200 OK|x-a: 1", None),
        ("HEAD", "HTTP/1.1 200 OK|transfer-encoding: chunked", None),
        ("HEAD", "HTTP/1.1 404 No|content-length: 0", Some("0")),
        ("GET", "HTTP/1.1 204 No Content", None),
        ("GET", "HTTP/1.1 204 No Content|content-length: 0", None),
        ("GET", "HTTP/1.1 200 OK|content-length: 0", Some("0")),
    ] {
        let path = stage.origin.path();
        stage.origin.script(&path, vec![Step::Send(answer(head, ""))]);
        let mut conn = stage.proxy.conn().await;
        let got = conn.call(format!("{method} {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
        assert_eq!(got.field("content-length").as_deref(), length, "{method} {head}");
    }
}
