//! Answers of class 1xx: RFC 9110 section 15.2.

use super::Bench;
use crate::support::{client::get, wait::within, wire::find};

fn raw(answer: &str) -> String {
    let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("/?do=raw&then=keep&hex={hex}")
}

const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Fails when: an interim answer is dropped, doubled or put in the wrong place.
#[tokio::test]
async fn interim_answers_come_first_and_in_order() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    for interim in [vec![HINTS], vec!["HTTP/1.1 102 Processing\r\n\r\n", HINTS], vec!["HTTP/1.1 100 Continue\r\n\r\n"]]
    {
        conn.send(&get(&raw(&format!("{}{FINAL}", interim.concat())))).await;
        for each in interim {
            let head = within("an interim answer", conn.wire.head()).await.unwrap().unwrap();
            assert_eq!(head[..13], each.as_bytes()[..13]);
            assert!(find(&head, b"x-hop").is_none() && find(&head, b"X-Hop").is_none());
            assert!(find(&head, b"ontent-").is_none(), "the length of no body");
            assert_eq!(find(&head, b"rel=preload").is_some(), each.contains("preload"));
        }
        assert_eq!(conn.answer().await.text(), "ok");
        assert!(conn.still_serves().await);
    }
}

/// Fails when: a client of HTTP/1.0 gets an answer it cannot know.
#[tokio::test]
async fn old_clients_get_none() {
    let bench = Bench::new("").await;
    let mut conn = bench.proxy.conn().await;
    conn.send(format!("GET {} HTTP/1.0\r\nHost: a\r\n\r\n", raw(&format!("{HINTS}{FINAL}"))).as_bytes()).await;
    let head = within("the answer", conn.wire.head()).await.unwrap().unwrap();
    assert_eq!(&head[8..12], b" 200");
}
