//! Methods, bodies and the answers' fields: RFC 9110 sections 6.6.1, 7.6.2, 9.3 and 15.

use super::{Bench, SMUGGLED, arrives, expect, head, passed};
use crate::support::{client::get, wire::value};

fn raw(answer: &str) -> String {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("/?do=raw&then=keep&hex={hex}")
}

/// Fails when: OPTIONS or TRACE goes further than Max-Forwards lets it, or other methods are stopped by it.
#[tokio::test]
async fn max_forwards_is_counted() {
    let bench = Bench::new("").await;
    let left = |wanted: &'static str| {
        move |sent: &crate::support::origin::Recorded, _: &_| {
            expect("Max-Forwards", value(&sent.fields, "max-forwards").as_deref(), Some(wanted))
        }
    };
    let line =
        |method: &str, value: &str| head(&format!("{method} /x HTTP/1.1"), &format!("Max-Forwards: {value}\r\n"));
    bench
        .run(vec![
            passed("TRACE 5", line("TRACE", "5"), left("4")),
            passed("OPTIONS 1", line("OPTIONS", "1"), left("0")),
            passed("OPTIONS nonsense", line("OPTIONS", "nonsense"), left("nonsense")),
            passed("GET 0", line("GET", "0"), left("0")),
            passed("TRACE without", head("TRACE /x HTTP/1.1", ""), arrives),
        ])
        .await;
    let mut conn = bench.proxy.conn().await;
    let before = bench.blue.hits();
    let options = conn.call(line("OPTIONS", "0").as_bytes()).await;
    assert_eq!((options.status, options.body.len()), (200, 0));
    assert!(options.field("allow").is_some_and(|allow| allow.contains("POST")));
    let trace = conn.call(head("TRACE /x?y HTTP/1.1", "Max-Forwards: 0\r\nCookie: secret\r\n").as_bytes()).await;
    assert_eq!(trace.field("content-type").as_deref(), Some("message/http"));
    assert!(
        trace.text().starts_with("TRACE /x?y HTTP/1.1\r\n") && !trace.text().contains("secret"),
        "{}",
        trace.text()
    );
    assert_eq!(bench.blue.hits(), before);
    assert!(conn.still_serves().await);
}

/// Fails when: a body is sent where there is none (RFC 9112 section 6.3), whatever the server says.
#[tokio::test]
async fn some_answers_have_no_body() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    for (method, answer, status) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304),
    ] {
        let answer_seen = conn.call(head(&format!("{method} {} HTTP/1.1", raw(answer)), "").as_bytes()).await;
        assert_eq!(answer_seen.status, status, "{method} {answer:?}");
        if status == 204 {
            assert_eq!(answer_seen.field("content-length"), None, "{answer:?}");
            assert_eq!(answer_seen.field("transfer-encoding"), None, "{answer:?}");
        }
        assert!(conn.still_serves().await, "{method} {answer:?}: the next answer is not where it belongs");
    }
    let length = conn
        .call(head(&format!("HEAD {} HTTP/1.1", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")), "").as_bytes())
        .await;
    assert_eq!(length.field("content-length").as_deref(), Some("5"), "HEAD says what GET would");
}

/// Fails when: an answer without Date is passed on without one (RFC 9110 section 6.6.1), or a Date is replaced.
#[tokio::test]
async fn every_answer_has_one_date() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    let dated = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(conn.call(&get(&raw(dated))).await.fields("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
    assert_eq!(conn.call(&get("/")).await.fields("date").len(), 1);
    assert_eq!(conn.call(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await.fields("date").len(), 1);
    let bad = bench.proxy.once(b"GET / HTTP/1.1\nHost: a\n\n").await;
    assert_eq!((bad.status, bad.fields("date").len(), bad.fields("x-request-id").len()), (400, 1, 1));
    assert_eq!(bad.error().as_deref(), Some("bad_request"));
}

/// Fails when: a 405 does not say what is allowed, or CONNECT leaves a connection on which more is taken for requests.
#[tokio::test]
async fn connect_is_refused() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    conn.send(format!("CONNECT iris.test:443 HTTP/1.1\r\nHost: iris.test:443\r\n\r\n{SMUGGLED}").as_bytes()).await;
    let answer = conn.answer().await;
    assert_eq!((answer.status, answer.field("connection").as_deref()), (405, Some("close")));
    assert!(answer.field("allow").is_some());
    assert!(conn.is_closed().await);
    assert_eq!(bench.blue.hits(), 0);
}
