//! What is sent again: policy by method by what is known of the connection. A request that may not be repeated is seen
//! once by the origin, whatever else happens.

use super::*;
use crate::support::client::request;

/// How the first attempt ends.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The whole request was read; no byte of an answer.
    ReadAndClosed,
    ReadAndReset,
    /// Part of an answer came.
    AnswerBegan,
    /// An interim answer came.
    Interim,
}

impl Fate {
    fn steps(self, body: usize) -> Vec<Step> {
        let read = Step::Read(body);
        match self {
            Fate::ReadAndClosed => vec![read, Step::Close],
            Fate::ReadAndReset => vec![read, Step::Rst],
            Fate::AnswerBegan => vec![read, Step::Send(b"HTTP/1.1 2".to_vec()), Step::Close],
            Fate::Interim => vec![read, Step::Send(b"HTTP/1.1 102 Processing\r\n\r\n".to_vec()), Step::Close],
        }
    }
}

const KEY: &str = "idempotency-key: 17\r\n";

/// Fails when: a policy permits more or less than it says.
#[tokio::test]
async fn policies_by_method() {
    let (get, head, put, delete, post, patch) = ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH");
    for (policy, permitted) in [
        ("never", vec![]),
        (
            "idempotent",
            vec![
                (get, "/x", ""),
                (head, "/x", ""),
                (put, "/x", ""),
                (delete, "/x", ""),
                (post, "/x", KEY),
                (patch, "/x", KEY),
            ],
        ),
        (
            "inference",
            vec![
                (get, "/x", ""),
                (put, "/x", ""),
                (post, "/x", KEY),
                (post, "/v2/models/m/infer", ""),
                (post, "/v1/completions", ""),
            ],
        ),
        ("reused", vec![(get, "/x", ""), (post, "/x", ""), (patch, "/x", ""), (post, "/v2/models/m/infer", "")]),
    ] {
        let stage = Stage::with(&format!("replay = \"{policy}\""), "").await;
        let all = [
            (get, "/x", ""),
            (head, "/x", ""),
            (put, "/x", ""),
            (delete, "/x", ""),
            (post, "/x", ""),
            (post, "/x", KEY),
            (patch, "/x", ""),
            (patch, "/x", KEY),
            (post, "/v2/models/m/infer", ""),
            (post, "/v1/completions", ""),
        ];
        for (method, suffix, fields) in all {
            let may = permitted.contains(&(method, suffix, fields))
                || policy == "reused"
                || policy == "inference" && (fields == KEY || method == head || method == delete);
            for fate in [Fate::ReadAndClosed, Fate::ReadAndReset, Fate::AnswerBegan, Fate::Interim] {
                let began = matches!(fate, Fate::AnswerBegan | Fate::Interim);
                attempt(&stage, method, suffix, fields, fate, true, may && !began).await;
                // On a new connection no close has crossed the request: only what is harmless by itself is repeated.
                let harmless = policy != "reused";
                attempt(&stage, method, suffix, fields, fate, false, may && !began && harmless).await;
            }
        }
    }
}

/// One request whose first attempt meets its fate; `again` tells whether a second is to follow.
async fn attempt(stage: &Stage, method: &str, suffix: &str, fields: &str, fate: Fate, reused: bool, again: bool) {
    let path = format!("{}{suffix}", stage.origin.path());
    let body = if matches!(method, "GET" | "HEAD") { &b""[..] } else { b"the body" };
    stage.origin.script(&path, fate.steps(body.len()));
    let mut conn = stage.proxy.conn().await;
    if reused {
        stage.next_connection(&mut conn).await;
    } else {
        stage.use_up(&mut conn).await;
    }
    let answer = conn.call(&request(method, &path, fields, body)).await;
    let case = format!("{method} {path} {fields:?} {fate:?} reused: {reused}");
    assert_eq!(stage.origin.taken(&path)[0].index > 0, reused, "{case}: the case is not what it says");
    let (status, attempts) = if again { (200, 2) } else { (502, 1) };
    assert_eq!((answer.status, stage.origin.attempts(&path)), (status, attempts), "{case} {answer:?}");
    if again {
        let second = stage.origin.last(&path);
        assert_eq!((second.index, stage.origin.body(second.connection)), (0, body.to_vec()), "{case}: fresh and whole");
    }
}

/// Fails when: a body that is still under way is not repeated whole, or one that outgrew the buffer is repeated in part.
#[tokio::test]
async fn bodies_are_repeated_whole_or_not_at_all() {
    let stage = Stage::with("replay_buffer = \"64 KiB\"", "").await;
    for (size, read, again) in
        [(60_000, 60_000, true), (60_000, 1000, true), (60_000, 0, true), (200_000, 200_000, false)]
    {
        let path = format!("{}/infer", stage.origin.path());
        stage.origin.script(&path, vec![Step::Read(read), Step::Close]);
        let mut conn = stage.proxy.conn().await;
        stage.next_connection(&mut conn).await;
        let body: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let answer = conn.call(&request("POST", &path, "", &body)).await;
        assert_eq!(answer.status, if again { 200 } else { 502 }, "{size} {read} {answer:?}");
        assert_eq!(stage.origin.attempts(&path), if again { 2 } else { 1 });
        if again {
            assert!(stage.origin.body(stage.origin.last(&path).connection) == body, "{size} {read}: another body");
        }
    }
    assert_eq!(stage.proxy.metric("verdigris_replays_refused_total", &[]).await, 1.0);
    assert_eq!(stage.proxy.metric("verdigris_replays_total", &[]).await, 3.0);
}

/// Fails when: the worker's share of the total bound is not kept, or not given back.
#[tokio::test]
async fn the_total_of_kept_bodies_is_bounded() {
    let stage = Stage::with_process("[proxy.limits]\nreplay_buffer_total = \"100 KiB\"").await;
    let body = vec![7; 60_000];
    for round in 0..3 {
        let (first, second) = (format!("{}/infer", stage.origin.path()), format!("{}/infer", stage.origin.path()));
        let (mut one, mut two) = (stage.proxy.conn().await, stage.proxy.conn().await);
        stage.two_idle(&mut one, &mut two).await;
        for path in [&first, &second] {
            stage.origin.script(path, vec![Step::Read(body.len()), Step::Gate, Step::Close]);
        }
        one.send(&request("POST", &first, "", &body)).await;
        stage.origin.until_body(&first, body.len()).await;
        two.send(&request("POST", &second, "", &body)).await;
        stage.origin.until_body(&second, body.len()).await;
        stage.origin.go();
        stage.origin.go();
        let statuses = [one.answer().await.status, two.answer().await.status];
        assert_eq!(statuses, [200, 502], "round {round}: the first fits, the second does not");
    }
}

/// Fails when: chunks and trailers of a repeated body are lost or doubled.
#[tokio::test]
async fn a_chunked_body_is_repeated_with_its_trailers() {
    let stage = Stage::new().await;
    let path = format!("{}/infer", stage.origin.path());
    stage.origin.script(&path, vec![Step::Read(5), Step::Close]);
    let mut conn = stage.proxy.conn().await;
    stage.next_connection(&mut conn).await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
    conn.send(format!("{head}5\r\nhello\r\n").as_bytes()).await;
    stage.origin.until_taken(&path, 2).await;
    conn.send(b"6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n").await;
    let answer = conn.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(stage.origin.body(stage.origin.last(&path).connection), b"hello world");
}

/// Fails when: the name of a field loses its case in a replay.
#[tokio::test]
async fn a_repeated_request_is_the_same_request() {
    let stage = Stage::new().await;
    let path = stage.origin.path();
    stage.origin.script(&path, vec![Step::Close]);
    let mut conn = stage.proxy.conn().await;
    stage.next_connection(&mut conn).await;
    let bytes = format!("GET {path} HTTP/1.1\r\nHost: iris.test\r\nX-Case: A\r\nx-two: 1\r\nx-two: 2\r\n\r\n");
    assert_eq!(conn.call(bytes.as_bytes()).await.status, 200);
    let heads: Vec<String> = stage.origin.taken(&path).iter().map(|taken| taken.head.to_ascii_lowercase()).collect();
    assert_eq!(heads.len(), 2);
    let sorted = |head: &str| {
        let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&heads[0]), sorted(&heads[1]), "request id and all");
}

impl Stage {
    /// Leaves no idle connection behind.
    async fn use_up(&self, conn: &mut Conn) {
        let path = self.origin.path();
        self.origin.script(
            &path,
            vec![Step::Send(answer("HTTP/1.1 200 OK|connection: close|content-length: 0", "")), Step::Drain],
        );
        let last = conn.call(&get(&path)).await;
        assert_eq!(last.status, 200);
        self.origin.ended(self.origin.last(&path).connection).await;
    }

    /// Leaves two idle connections behind.
    async fn two_idle(&self, one: &mut Conn, two: &mut Conn) {
        let paths = [self.origin.path(), self.origin.path()];
        for (path, conn) in paths.iter().zip([&mut *one, &mut *two]) {
            self.origin.script(path, vec![Step::Gate, Step::Send(answer("HTTP/1.1 200 OK|content-length: 0", ""))]);
            conn.send(&get(path)).await;
            self.origin.until_taken(path, 1).await;
        }
        self.origin.go();
        self.origin.go();
        assert_eq!([one.answer().await.status, two.answer().await.status], [200, 200]);
    }
}
