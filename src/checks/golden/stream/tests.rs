//! The parser of event streams: the examples of its specification, every way to cut them, and its limits.

use std::time::Duration;

use proptest::prelude::*;

use super::{SseError, SseEvent, SseParser, TokenStream, sse::LINE_BYTES_MAX};

/// The events of a stream in these pieces (without times), and whether it ends inside one.
fn parse(pieces: &[&[u8]]) -> (Vec<(String, String)>, bool) {
    let mut parser = SseParser::new();
    let mut events = Vec::new();
    for piece in pieces {
        parser.feed(piece, Duration::ZERO, &mut events).unwrap();
    }
    (events.into_iter().map(|SseEvent { event, data, .. }| (event, data)).collect(), parser.is_unfinished())
}

fn data(text: &str) -> Vec<String> {
    parse(&[text.as_bytes()]).0.into_iter().map(|(_, data)| data).collect()
}

/// Fails when: a line end, a comment, a missing colon or a space is read otherwise than the specification has it.
#[test]
fn it_reads_what_the_specification_shows() {
    assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    assert_eq!(
        data(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"),
        ["first event", "second event"]
    );
    assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
    assert_eq!(data("data: a\r\rdata: b\r\n\r\ndata: c\n\n"), ["a", "b", "c"]);
    assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\n"), ["a"], "the mark counts only at the very beginning");
    assert_eq!(parse(&[b"event: error\ndata: x\n\nevent: y\n\n"]).0, [("error".into(), "x".into())]);
    assert_eq!(data("data: a\u{0}\u{fffd}\n\n"), ["a\u{0}\u{fffd}"]);
    for (text, unfinished) in
        [("", false), ("data: a\n\n", false), ("data: a\n", true), ("d", true), ("data: a\n\n:", true)]
    {
        assert_eq!(parse(&[text.as_bytes()]).1, unfinished, "{text:?}");
    }
}

/// Fails when: a CRLF, the byte order mark or a character that is cut in two becomes something else.
#[test]
fn it_does_not_mind_the_cuts() {
    assert_eq!(parse(&[b"data: a\r", b"\n\r", b"\ndata: b\n\n"]).0.len(), 2);
    assert_eq!(parse(&[b"\xef", b"\xbb\xbfdata: a\n\n"]).0, [(String::new(), "a".into())]);
    assert_eq!(parse(&[b"data: bl\xc3", b"\xa5\n\n"]).0, [(String::new(), "bl\u{e5}".into())]);
    assert_eq!(parse(&[b"data: a\xff\n\n"]).0, [(String::new(), "a\u{fffd}".into())]);
}

/// Fails when: an event has another time than that of the piece which ends it.
#[test]
fn an_event_has_the_time_of_its_end() {
    let mut events = Vec::new();
    let mut parser = SseParser::new();
    for (millis, piece) in [(1, "data: a\n"), (2, "\nda"), (3, "ta: b\r\n\r"), (4, "\n")] {
        parser.feed(piece.as_bytes(), Duration::from_millis(millis), &mut events).unwrap();
    }
    assert_eq!(events.iter().map(|event| event.at.as_millis()).collect::<Vec<_>>(), [2, 3]);
}

/// Fails when: a hostile stream grows without bound.
#[test]
fn it_is_bounded() {
    let feed = |piece: &[u8], times: usize| {
        let (mut parser, mut events) = (SseParser::new(), Vec::new());
        (0..times).try_for_each(|_| parser.feed(piece, Duration::ZERO, &mut events))
    };
    assert_eq!(feed(&vec![b'x'; LINE_BYTES_MAX / 4], 5), Err(SseError::LongLine));
    let line = format!("data: {}\n", "x".repeat(LINE_BYTES_MAX / 2));
    assert_eq!(feed(line.as_bytes(), 9), Err(SseError::LargeEvent));
    assert_eq!(feed(b"data\n\n", 100_001), Err(SseError::ManyEvents));
    assert_eq!(feed(b"data\n\n", 100_000), Ok(()));
}

fn tokens(events: &[&str]) -> TokenStream {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    TokenStream::read([(body.as_bytes(), Duration::from_millis(7))].into_iter()).unwrap()
}

/// Fails when: the text of one of the usual servers is not found, or what is no text counts as a token.
#[test]
fn tokens_of_the_usual_servers() {
    for (events, text, count) in [
        (&[r#"{"choices":[{"text":"a"}]}"#, r#"{"choices":[{"text":"b","finish_reason":"stop"}]}"#][..], "ab", 2),
        (&[r#"{"choices":[{"delta":{"role":"assistant"}}]}"#, r#"{"choices":[{"delta":{"content":"a"}}]}"#], "a", 1),
        (&[r#"{"text_output":"a"}"#, r#"{"text_output":""}"#], "a", 1),
        (
            &[r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, r#"{"choices":[{"delta":{"content":"a"}}]}"#],
            "a",
            2,
        ),
        (
            &[r#"{"type":"content_block_delta","delta":{"text":"a"}}"#, r#"{"delta":{"stop_reason":"end_turn"}}"#],
            "a",
            1,
        ),
        (&[r#"{"type":"response.output_text.delta","delta":"a"}"#], "a", 1),
        (&[r#"{"choices":[],"usage":{"completion_tokens":9}}"#], "", 0),
        (&["plain", "7"], "plain7", 2),
    ] {
        let stream = tokens(events);
        assert_eq!((stream.text.as_str(), stream.tokens), (text, count), "{events:?}");
        assert_eq!(stream.first_token.is_some(), count > 0);
    }
    assert!(tokens(&["a", "[DONE]"]).done && !tokens(&["[DONE]", "a"]).done);
    assert_eq!(tokens(&[r#"{"choices":[{"finish_reason":"length"}]}"#]).finish_reason.as_deref(), Some("length"));
}

proptest! {
    /// Fails when: what is read depends on how the bytes arrive, or some bytes make a panic.
    #[test]
    fn the_cuts_do_not_matter(
        text in prop_oneof!["[\r\n:a d\u{e5}]{0,40}", "(data: ?[a\u{e5}]{0,3}(\r\n|\r|\n){1,2}){0,8}", ".{0,40}"],
        bytes in prop::collection::vec(any::<u8>(), 0..10),
        mark in any::<bool>(),
        cuts in prop::collection::vec(0_usize..80, 0..8),
    ) {
        let mut stream = if mark { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        stream.extend(text.as_bytes());
        stream.extend(bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let singles: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(parse(&pieces), parse(&[&stream]));
        prop_assert_eq!(parse(&singles), parse(&[&stream]));
        let _ = TokenStream::read(pieces.into_iter().map(|piece| (piece, Duration::ZERO)));
    }
}
