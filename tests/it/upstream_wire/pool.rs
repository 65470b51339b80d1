//! Kept connections: when one is used again, when it is thrown away, and that the next caller never pays for the last.

use std::time::Duration;

use super::*;
use crate::support::client::request;

fn ok(fields: &str) -> Step {
    Step::Send(answer(&format!("HTTP/1.1 200 OK|{fields}content-length: 2"), "ok"))
}

/// What a server may do to a connection that is idle. Fails when: the next request goes over it all the same, or gets
/// bytes that were not sent for it. No policy matters, because nothing was written.
#[tokio::test]
async fn what_happened_while_idle_is_seen_before_use() {
    let stray = |bytes: &str| vec![Step::Send(bytes.as_bytes().to_vec())];
    let another = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for policy in ["never", "inference"] {
        let stage = Stage::with(&format!("replay = \"{policy}\""), "").await;
        for (name, what) in [
            ("FIN", vec![Step::HalfClose]),
            ("close", vec![Step::Close]),
            ("RST", vec![Step::Rst]),
            ("a byte", stray("x")),
            ("CRLF", stray("\r\n")),
            ("another answer", stray(another)),
            ("an interim answer", stray("HTTP/1.1 100 Continue\r\n\r\n")),
            ("408", stray("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")),
        ] {
            for (round, method) in ["GET", "POST", "GET", "POST", "DELETE", "POST"].into_iter().enumerate() {
                let path = stage.origin.path();
                let steps = [vec![ok(""), Step::Gate], what.clone(), vec![Step::Mark, Step::Drain]].concat();
                stage.origin.script(&path, steps);
                let mut conn = stage.proxy.conn().await;
                assert_eq!(conn.call(&get(&path)).await.text(), "ok");
                stage.origin.deed(stage.origin.last(&path).connection).await;
                let target = stage.origin.path();
                let after = conn.call(&request(method, &target, "", b"body")).await;
                assert_eq!((after.status, after.text().as_str()), (200, "plain "), "{policy} {name} {method} {round}");
                assert_eq!(stage.origin.attempts(&target), 1, "{policy} {name} {method}: sent once");
                assert_ne!(connection_of(&after), stage.origin.last(&path).connection);
            }
        }
        for kind in ["upstream_closed", "upstream_malformed", "upstream_cut"] {
            assert_eq!(stage.failures(kind).await, 0.0, "{kind}");
        }
    }
}

/// Fails when: bytes after an answer reach anybody, or the connection they came on is used again.
#[tokio::test]
async fn bytes_after_an_answer_poison_nobody() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let head = "HTTP/1.1 200 OK|x-origin: 1";
    let after_length = |extra: &str| answer(&format!("{head}|content-length: 2"), &format!("ok{extra}"));
    let after_chunks =
        |extra: &str| answer(&format!("{head}|transfer-encoding: chunked"), &format!("2\r\nok\r\n0\r\n\r\n{extra}"));
    let fine = || Whole(200, "ok");
    let rows = vec![
        row("length and a byte", after_length("x"), Keep, fine(), Discarded),
        row("length and CRLF", after_length("\r\n"), Keep, fine(), Discarded),
        row("length and an answer", after_length(poison), Keep, fine(), Discarded),
        row("length and an interim answer", after_length("HTTP/1.1 100 Continue\r\n\r\n"), Keep, fine(), Discarded),
        row("chunks and a byte", after_chunks("x"), Keep, fine(), Discarded),
        row("chunks and CRLF", after_chunks("\r\n"), Keep, fine(), Discarded),
        row("chunks and an answer", after_chunks(poison), Keep, fine(), Discarded),
        row(
            "length zero and an answer",
            answer(&format!("{head}|content-length: 0"), poison),
            Keep,
            Whole(200, ""),
            Discarded,
        ),
        row(
            "a refusal and an answer",
            answer("HTTP/1.1 404 No|content-length: 2", &format!("ok{poison}")),
            Keep,
            Whole(404, "ok"),
            Discarded,
        ),
    ];
    let stage = Stage::new().await;
    stage.play(rows).await;
    assert_eq!(stage.failures("upstream_malformed").await, 0.0, "the answer itself was fine");
}

/// Fails when: what the server says of the connection is not heard.
#[tokio::test]
async fn what_the_server_says_of_the_connection_is_heard() {
    let says = |name, fields: &str, after| {
        row(name, answer(&format!("HTTP/1.1 200 OK|{fields}|content-length: 2"), "ok"), Keep, Whole(200, "ok"), after)
    };
    let status = |name, line: &str, code, after| {
        row(name, answer(&format!("{line}|content-length: 2"), "ok"), Keep, Whole(code, "ok"), after)
    };
    let rows = vec![
        says("nothing", "x-a: 1", Reused),
        says("keep-alive", "connection: keep-alive", Reused),
        says("close", "connection: close", Discarded),
        says("Close", "Connection: Close", Discarded),
        says("close in a list", "connection: x-a, close", Discarded),
        says("close in a second line", "connection: x-a|connection: close", Discarded),
        says("close, then keep-alive", "connection: close|connection: keep-alive", Discarded),
        says("keep-alive with patience", "keep-alive: timeout=5", Reused),
        says("keep-alive without patience", "keep-alive: timeout=0", Discarded),
        says("keep-alive with nonsense", "keep-alive: timeout=x, foo", Reused),
        status("400", "HTTP/1.1 400 No", 400, Reused),
        status("404", "HTTP/1.1 404 No", 404, Reused),
        status("429", "HTTP/1.1 429 No", 429, Reused),
        status("500", "HTTP/1.1 500 No", 500, Discarded),
        status("501", "HTTP/1.1 501 No", 501, Discarded),
        status("502", "HTTP/1.1 502 No", 502, Discarded),
        status("503", "HTTP/1.1 503 No", 503, Discarded),
        status("HTTP/1.0", "HTTP/1.0 200 OK", 200, Discarded),
        status("HTTP/1.0 with keep-alive", "HTTP/1.0 200 OK|connection: keep-alive", 200, Discarded),
    ];
    Stage::new().await.play(rows).await;
}

/// llama.cpp says `close` at its hundredth request. Fails when: a request is lost at one of the changes.
#[tokio::test]
async fn a_server_that_counts_requests_loses_none() {
    let stage = Stage::with("replay = \"never\"", "").await;
    let mut conn = stage.proxy.conn().await;
    for _ in 0..5 {
        let connection = stage.next_connection(&mut conn).await;
        for _ in 0..5 {
            assert_eq!(stage.next_connection(&mut conn).await, connection);
        }
        let path = stage.origin.path();
        stage.origin.script(&path, vec![ok("connection: close|"), Step::Close]);
        assert_eq!(conn.call(&get(&path)).await.text(), "ok");
    }
}

/// Fails when: an idle connection is kept for longer than `pool.idle_timeout`, or than the server says it waits.
#[tokio::test]
async fn idle_connections_are_closed_by_the_proxy() {
    let stage = Stage::with("", "[service.pool]\nidle_timeout = \"300ms\"").await;
    for fields in ["", "keep-alive: timeout=100|"] {
        let path = stage.origin.path();
        stage.origin.script(&path, vec![ok(fields)]);
        assert_eq!(stage.proxy.once(&get(&path)).await.text(), "ok");
        assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Fin, "{fields}");
    }
    let stage = Stage::with("", "[service.pool]\nidle_timeout = \"60s\"").await;
    let path = stage.origin.path();
    stage.origin.script(&path, vec![ok("keep-alive: timeout=1|")]);
    let began = std::time::Instant::now();
    assert_eq!(stage.proxy.once(&get(&path)).await.text(), "ok");
    assert_eq!(stage.origin.ended(stage.origin.last(&path).connection).await, End::Fin);
    assert!(began.elapsed() < Duration::from_secs(1), "before the server's own second is over: {:?}", began.elapsed());
}

/// Fails when: only the newest of several dead connections is found dead.
#[tokio::test]
async fn several_stale_connections_in_a_row() {
    let stage = Stage::with("replay = \"never\"", "").await;
    let mut conns = Vec::new();
    let paths: Vec<String> = (0..6).map(|_| stage.origin.path()).collect();
    for path in &paths {
        stage.origin.script(path, vec![Step::Gate, ok(""), Step::Gate, Step::Close]);
        let mut conn = stage.proxy.conn().await;
        conn.send(&get(path)).await;
        stage.origin.until_taken(path, 1).await;
        conns.push(conn);
    }
    paths.iter().for_each(|_| stage.origin.go());
    for conn in &mut conns {
        assert_eq!(conn.answer().await.text(), "ok");
    }
    for path in &paths {
        stage.origin.go();
        assert!(stage.origin.attempts(path) == 1);
    }
    for path in &paths {
        stage.origin.ended(stage.origin.last(path).connection).await;
    }
    let after = conns[0].call(&request("POST", "/next", "", b"body")).await;
    assert_eq!(after.status, 200, "{after:?}");
    assert_eq!(stage.origin.attempts("/next"), 1);
}

/// Two clients at once never share a connection. Fails when: one is given out twice, or answers cross.
#[tokio::test]
async fn answers_never_cross() {
    let stage = Stage::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..8 {
        let addr = stage.proxy.addr;
        tasks.spawn(async move {
            let mut conn = Conn::open(addr).await;
            for round in 0..50 {
                let say = format!("{client}-{round}");
                let answer = conn.call(&request("POST", "/next", &format!("x-say: {say}\r\n"), say.as_bytes())).await;
                assert_eq!(answer.text(), format!("plain {say}"));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
