//! Files: what is understood, what is refused and with which words, and that the manual says the same.

use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use serde_json::json;

use super::{
    Answer, AnswerEnd, Need, RequestKind, Set,
    samples::{TOOK, case, fails, failures, headers, json_answer, problems},
};

fn manual() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/golden.md")).unwrap()
}

/// Fails when: an example of the manual is not understood.
#[test]
fn every_example_of_the_manual_is_right() {
    let text = manual();
    let blocks: Vec<_> = text.split("```jsonl\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 9, "{}", blocks.len());
    for block in blocks {
        Set::parse(block, "docs/golden.md").unwrap_or_else(|problems| panic!("{problems}\n{block}"));
    }
}

/// Fails when: a key is known that the manual does not explain. The program lists its keys where one is unknown.
#[test]
fn every_key_is_in_the_manual() {
    let text = manual();
    let odd = json!({ "zzzzzzzz": 1 });
    let http = |expect: serde_json::Value| json!({ "name": "a", "request": { "path": "/" }, "expect": expect });
    let infer = json!({ "grpc": { "method": "/s/M", "base64": "", "zzzzzzzz": 1 } });
    let lines = [
        json!({ "golden": 1, "zzzzzzzz": 1 }),
        json!({ "name": "a", "request": { "path": "/", "zzzzzzzz": 1 }, "expect": {}, "zzzzzzzz": 1 }),
        json!({ "name": "a", "request": infer, "expect": odd }),
        http(odd.clone()),
        http(json!({ "headers": { "a": odd }, "json": { "$": odd }, "tensors": { "a": odd }, "embeddings": odd })),
        http(json!({ "text": { "edit_distance": odd, "zzzzzzzz": 1 }, "stream": odd })),
        http(json!({ "tensors": { "a": { "top_k": odd } } })),
    ];
    let mut known = 0;
    for line in lines.map(|line| line.to_string()) {
        for problem in problems(&line) {
            let Some((_, keys)) = problem.split_once("known here: ") else { continue };
            for key in keys.split(", ") {
                let is_there = text.contains(&format!("`{key}`")) || text.contains(&format!("\"{key}\""));
                assert!(is_there, "{key} is not in docs/golden.md: {problem}");
                known += 1;
            }
        }
    }
    assert!(known > 60, "only {known} keys were seen");
}

/// Fails when: a default is another than the manual's, or a request's parts get lost.
#[test]
fn a_case_is_what_the_line_says() {
    let text = "\u{feff}# comment\r\n\r\n\
        {\"name\": \"a\", \"request\": {\"path\": \"/x?y=1\", \"headers\": {\"X-A\": [\"1\", \"2\"]}, \"json\": {\"b\": 1.50, \"a\":2}}, \"expect\": {}}\r\n\
        {\"name\": \"b\", \"request\": {\"path\": \"/\"}, \"expect\": {}, \"timeout\": \"2s\"}\n";
    let set = Set::parse(text, "g").unwrap();
    let [a, b] = set.cases() else { panic!("{set:?}") };
    assert_eq!((a.name(), a.line(), a.timeout(), a.answer_bytes_max()), ("a", 3, Duration::from_secs(30), 16 << 20));
    let request = a.request();
    assert_eq!((request.method.as_str(), request.path.as_str(), request.kind), ("POST", "/x?y=1", RequestKind::Http));
    assert_eq!(request.body, "{\"b\": 1.50, \"a\":2}", "byte for byte");
    assert_eq!(request.headers, headers(&[("x-a", "1"), ("x-a", "2"), ("content-type", "application/json")]));
    assert_eq!((b.request().method.as_str(), b.timeout()), ("GET", Duration::from_secs(2)));
    assert_eq!(set.need(), Need::All);
}

/// Fails when: one wrong thing is not told, or without its line, key, reason and hint.
#[test]
fn problems_are_told_all_at_once() {
    let text = "{\"golden\": 2, \"need\": \"3 of 2\", \"timeout\": \"2h\", \"answer_max\": \"1 GiB\"}\n\
        {\"name\": \"a\", \"request\": {\"path\": \"/\", \"json\": 1, \"text\": \"\"}, \"expect\": {\"status\": \"6xx\"}}\n\
        [1]\n\
        {\"name\": \"a\", \"nam\": 1, \"name\": \"b\", \"request\": {\"path\": \"/\", \"headers\": {\"host\": \"h\"}}}\n\
        {\"name\": \"a\"\n";
    let expected = [
        "g:1:12: golden: version 2 of golden files is not known; write 1",
        "g:1:23: need: \"3 of 2\" is no need; write \"all\", \"18 of 20\" or \"90 %\"",
        "g:1:44: timeout: out of range; write at least \"1ms\" and at most \"1h\"",
        "g:1:64: answer_max: out of range; write 1 byte to 256 MiB",
        "g:2:26: request: more than one body; keep one of json, text, base64",
        "g:2:85: expect.status: \"6xx\" is no class of statuses; write a number such as 200, or \"2xx\"",
        "g:3:1: this is an array; write an object: {…}",
        "g:4:1: the key `expect` is missing; write \"expect\": {} to expect a success only",
        "g:4:16: nam: unknown key; did you mean \"name\"?",
        "g:4:26: name: the key is there twice; keep one",
        "g:4:83: request.headers.host: this header belongs to the connection; leave it out: it is set when the request is sent",
        "g:5:12: not JSON: EOF while parsing an object; write one JSON object on each line",
    ];
    assert_eq!(problems(text), expected);
}

/// Fails when: an expectation that cannot hold or makes no sense is taken.
#[test]
fn senseless_expectations_are_refused() {
    let refused = [
        (json!({ "json": { "outputs": 1 } }), "is not a JSONPath"),
        (json!({ "json": { "$.a": { "abs": 1 } } }), "a tolerance without `equals`"),
        (json!({ "json": { "$.a": { "range": [2, 1] } } }), "not a range"),
        (json!({ "json": { "$.a": { "type": "float" } } }), "\"float\" is no type"),
        (json!({ "json": { "$.a": { "equals": 1, "rel": -1 } } }), "-1 is out of range"),
        (json!({ "tensors": { "a": { "abs": 1 } } }), "`abs` without `data`"),
        (json!({ "tensors": { "a": { "labels": true } } }), "`labels` without `data`"),
        (json!({ "tensors": { "a": { "agree": 1 } } }), "`agree` without `labels`"),
        (json!({ "tensors": { "a": { "data": [1, "x"] } } }), "neither numbers alone nor strings alone"),
        (json!({ "tensors": { "a": { "data": [1], "cosine": 2 } } }), "2 is out of range"),
        (json!({ "tensors": { "a": { "datatype": "FP8" } } }), "unknown datatype \"FP8\""),
        (json!({ "tensors": { "a": { "shape": [-2] } } }), "not a shape"),
        (json!({ "tensors": { "a": { "data": [1], "top_k": { "agree": 1 } } } }), "there is no `k`"),
        (json!({ "embeddings": { "data": [] , "cosine": 1 } }), "an empty vector"),
        (json!({ "embeddings": { "data": [1] } }), "`cosine` is missing"),
        (json!({ "text": { "regex": "(" } }), "not a regular expression"),
        (json!({ "text": { "regex": "(?:x{1000}){1000}" } }), "expect.text.regex"),
        (json!({ "text": { "edit_distance": { "to": "a" } } }), "neither `max` nor `max_ratio` alone"),
        (json!({ "text": { "edit_distance": { "to": "a".repeat(5001), "max": 1 } } }), "5001 characters"),
        (json!({ "stream": { "min_tokens": 0 } }), "a whole number from 1"),
        (json!({ "latency": 5 }), "this is a number; write a string"),
        (json!({ "headers": { "a b": true } }), "not the name of a header"),
        (json!({ "grpc_status": 0 }), "unknown key"),
        (json!({ "status": [] }), "0 values; write 1 to 1000"),
    ];
    for (expect, reason) in refused {
        let line = json!({ "name": "a", "request": { "path": "/" }, "expect": expect }).to_string();
        let said = problems(&line);
        assert!(said.len() == 1 && said[0].contains(reason), "{line}: {said:?}");
    }
}

/// Fails when: an author's count may differ from the file, names may repeat, or a file without requests passes any model.
#[test]
fn a_file_must_hold_together() {
    let line = "{\"name\": \"a\", \"request\": {\"path\": \"/\"}, \"expect\": {}}\n";
    assert_eq!(problems(""), ["g: there is no golden request in it; write one on each line: docs/golden.md"]);
    assert!(problems("{\"golden\": 1}\n")[0].contains("there is no golden request"));
    let counted = problems(&format!("{{\"golden\": 1, \"need\": \"1 of 2\"}}\n{line}"));
    assert_eq!(
        counted,
        ["g:1:23: need: it counts 2 requests, the file has 1; correct the count, or write a share such as \"90 %\""]
    );
    let twice = problems(&format!("{line}{line}"));
    assert_eq!(twice, ["g:2:10: name: the name \"a\" is in line 1, too; a report needs names of their own"]);
    assert!(problems(&format!("{line}{{\"golden\": 1}}\n"))[0].contains("the settings do not stand first"));
}

/// Fails when: a file, a line or the number of lines has no bound, or a long line makes a long report.
#[test]
fn everything_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("golden.jsonl");
    fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(Set::read(&path).unwrap_err().to_string().contains("larger than 64 MiB"));
    let long = format!("{{\"name\": \"{}", "x".repeat(16 << 20));
    assert_eq!(
        problems(&long),
        ["g:1:1: the line is longer than 16 MiB; shorten the request, or the data that is compared"]
    );
    let many = "{}\n".repeat(20_000);
    assert!(problems(&many).len() <= 102);
    let far = format!("{{\"name\": \"{}\", \"zzzzzzzz\": 1}}", "x".repeat(10_000));
    let problems = Set::parse(&far, "g").unwrap_err();
    let unknown = problems.iter().find(|problem| problem.key == "zzzzzzzz").unwrap();
    assert_eq!(unknown.place.as_ref().map(|place| (place.column, place.width)), Some((10_015, 8)));
    let shown = unknown.render();
    assert!(
        shown.len() < 500 && shown.lines().any(|line| line.trim_start_matches([' ', '|']) == "^^^^^^^^"),
        "{shown}"
    );
    let [source, carets] = [3, 4].map(|line| shown.lines().nth(line).unwrap());
    let at = |line: &str, of: &str| line.find(of).map(|at| line[..at].chars().count() - line.find('|').unwrap());
    assert_eq!(at(source, "zzzzzzzz"), at(carets, "^"), "{shown}");
}

/// Fails when: an answer that is not whole passes, or its body is judged all the same.
#[test]
fn an_answer_that_is_not_whole_fails() {
    let expect = json!({ "json": { "$.a": 1 } });
    let whole = json_answer(&json!({ "a": 1 }));
    for (end, said) in [
        (AnswerEnd::Cut("connection reset".into()), "an answer that was cut: connection reset"),
        (AnswerEnd::TooLong(7), "longer than 7 bytes"),
        (AnswerEnd::TimedOut(Duration::from_secs(3)), "no end of it within 3s"),
    ] {
        let piece = Answer { end, body: "{\"b".into(), ..whole.clone() };
        fails(&expect, &piece, &["answer: expected a complete answer", said]);
        assert_eq!(failures(&expect, &piece).len(), 1);
    }
    assert_eq!(case(&expect).judge(&whole).to_string(), "a (line 1): passed in 5 ms");
    let refused = case(&json!({})).unanswered("connection refused", TOOK);
    assert_eq!(refused.to_string(), "a (line 1): failed in 5 ms: answer: expected an answer, found connection refused");
    assert_eq!(case(&json!({})).skipped("no gRPC address").evidence(), ["skipped: no gRPC address"]);
}

/// Fails when: "N of M" is counted wrongly, or a request that nobody sent counts as good.
#[test]
fn enough_must_pass() {
    for (need, of) in [(Need::All, 10), (Need::AtLeast(7), 7), (Need::Share(90.0), 9), (Need::Share(90.1), 10)] {
        assert_eq!(need.of(10), of, "{need:?}");
    }
    let lines: String = (0..4)
        .map(|n| format!("{{\"name\": \"{n}\", \"request\": {{\"path\": \"/\"}}, \"expect\": {{}}}}\n"))
        .collect();
    let set = Set::parse(&format!("{{\"golden\": 1, \"need\": \"2 of 4\"}}\n{lines}"), "g").unwrap();
    let good = Answer::whole(200, headers(&[]), "", TOOK);
    let bad = Answer { status: 500, ..good.clone() };
    let judged = |answers: &[&Answer]| {
        set.cases().iter().zip(answers).map(|(case, answer)| case.judge(answer)).collect::<Vec<_>>()
    };
    let tally = set.tally(&judged(&[&good, &bad, &good, &bad]));
    assert!(tally.is_enough());
    assert_eq!(tally.to_string(), "2 of 4 golden requests passed; 2 needed");
    let mut verdicts = judged(&[&good]);
    verdicts.push(set.cases()[1].skipped("no gRPC address"));
    let tally = set.tally(&verdicts);
    assert!(!tally.is_enough());
    assert_eq!(tally.to_string(), "1 of 4 golden requests passed, 1 skipped; 2 needed");
}

proptest! {
    /// Fails when: some text makes the reader panic. Half of them are near to right ones.
    #[test]
    fn no_file_makes_a_panic(text in ".{0,300}", cut in 0_usize..2000, swap in 0_usize..2000, byte in any::<char>()) {
        let _ = Set::parse(&text, "g");
        let lines = manual();
        let example = lines.lines().filter(|line| line.starts_with('{')).nth(swap % 20).unwrap_or_default();
        let cut = example.floor_char_boundary(cut.min(example.len()));
        let _ = Set::parse(&format!("{}{byte}{}", &example[..cut], &example[cut..]), "g");
        let _ = Set::parse(&example[..cut], "g");
    }
}
