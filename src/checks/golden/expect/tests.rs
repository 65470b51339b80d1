//! Each kind of expectation with answers that pass and answers that fail, and the words of the evidence.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    Answer, AnswerEnd, Arrival, Set,
    samples::{TOOK, event_stream, fails, failures, headers, holds, json_answer, v2},
};

fn text(body: &str) -> Answer {
    Answer::whole(200, headers(&[("content-type", "text/plain")]), body.to_owned(), TOOK)
}

/// Fails when: a number, a list or a class of statuses is read wrongly, or an error passes without a word about it.
#[test]
fn status() {
    let of = |status| Answer { status, ..text("why not") };
    for (expect, good, bad) in [
        (json!({}), 204, 302),
        (json!({ "status": 404 }), 404, 200),
        (json!({ "status": [200, "4xx"] }), 418, 201),
        (json!({ "status": "2xx" }), 299, 300),
    ] {
        holds(&expect, &of(good));
        fails(&expect, &of(bad), &["status: expected ", &format!("found {bad} with the body \"why not\"")]);
    }
    // One reason is enough: the body of an error is not compared as if it were an answer.
    assert_eq!(failures(&json!({ "json": { "$.a": 1 }, "text": { "contains": "x" } }), &of(500)).len(), 1);
}

/// Fails when: a header is matched loosely, or one that is not there passes.
#[test]
fn header() {
    let answer =
        Answer::whole(200, headers(&[("content-type", "application/json; a"), ("x-a", "1"), ("x-a", "2")]), "", TOOK);
    holds(
        &json!({ "headers": { "Content-Type": { "regex": "^application/json" }, "x-a": "1, 2", "x-b": false, "X-A": true } }),
        &answer,
    );
    for (expect, said) in [
        (json!({ "x-a": "1" }), "headers.x-a: expected \"1\", found \"1, 2\""),
        (json!({ "x-b": "1" }), "found no such header"),
        (json!({ "x-b": true }), "expected it to be there"),
        (json!({ "x-a": false }), "expected it not to be there"),
        (json!({ "x-a": { "regex": "^3$" } }), "expected a match of \"^3$\""),
    ] {
        fails(&json!({ "headers": expect }), &answer, &[said]);
    }
}

/// Fails when: a path misses, a tolerance is too wide or too narrow, or a place is not named.
#[test]
fn json_by_path() {
    let answer = json_answer(&json!({
        "a": 1, "f": 0.5, "s": "blåbær", "n": null, "list": [1, 2.5, 3], "o": { "x": [1, { "y": "z" }], "w": true },
        "outputs": [{ "name": "p", "data": [9] }, { "name": "label", "data": [2] }], "big": 9_007_199_254_740_993_u64,
    }));
    let paths = |value: Value| json!({ "json": value });
    for good in [
        json!({ "$.a": 1, "$.n": null, "$.s": "blåbær", "$.o.x": [1, { "y": "z" }], "$.a ": 1.0 }),
        json!({ "$.outputs[?@.name==\"label\"].data[0]": 2 }),
        json!({ "$.f": { "equals": 0.51, "abs": 0.0101 }, "$.a": { "equals": 1.1, "rel": 0.1 } }),
        json!({ "$.list[*]": { "range": [1, 3], "type": "number" }, "$.f": { "range": [null, 0.5] } }),
        json!({ "$.list": { "length": 3, "type": "array" }, "$.s": { "length": [6, 6] }, "$.o": { "length": 2, "type": "object" } }),
        json!({ "$.nothing": { "present": false }, "$.n": { "present": true, "type": "null" }, "$.a": { "type": "integer" } }),
        json!({ "$.o": { "equals": { "x": [1.01, { "y": "z" }], "w": true }, "abs": 0.02 } }),
        json!({ "$.big": 9_007_199_254_740_993_u64 }),
    ] {
        let good: Value =
            good.as_object().unwrap().iter().map(|(key, value)| (key.trim().to_owned(), value.clone())).collect();
        holds(&paths(good), &answer);
    }
    for (bad, said) in [
        (json!({ "$.a": 2 }), "json.\"$.a\" at $['a']: expected 2, found 1"),
        (json!({ "$.nothing": 1 }), "expected a value, found nothing there"),
        (json!({ "$.a": { "present": false } }), "expected nothing there, found 1"),
        (json!({ "$.f": { "equals": 0.52, "abs": 0.01 } }), "expected 0.52 ± 0.01, found 0.5"),
        (json!({ "$.f": { "equals": 0.511, "abs": 0.01 } }), "expected 0.511 ± 0.01, found 0.5"),
        (json!({ "$.f": { "equals": 0.45, "rel": 0.1 } }), "expected 0.45 ± 0.1 of it, found 0.5"),
        (json!({ "$.f": { "equals": 0.6, "rel": 0.1 } }), "expected 0.6 ± 0.1 of it"),
        (
            json!({ "$.list[*]": { "range": [1, 2] } }),
            "json.\"$.list[*]\".range at $['list'][1]: expected 1 to 2, found 2.5",
        ),
        (json!({ "$.s": { "length": 8 } }), ".length at $['s']: expected 8, found 6"),
        (json!({ "$.a": { "length": 1 } }), "expected a string, an array or an object, found 1"),
        (json!({ "$.f": { "type": "integer" } }), "expected integer, found 0.5"),
        (json!({ "$.s": { "range": [0, 1] } }), ".range at $['s']: expected 0 to 1, found \"blåbær\""),
        (json!({ "$.o.x": [1, { "y": "!" }] }), "at $['o']['x'][1][\"y\"]: expected \"!\", found \"z\""),
        (json!({ "$.list": [1, 2.5] }), "expected [1,2.5], found [1,2.5,3]"),
        (json!({ "$.big": 9_007_199_254_740_992_u64 }), "found 9007199254740993"),
        (json!({ "$.a": "1" }), "expected \"1\", found 1"),
    ] {
        fails(&paths(bad), &answer, &[said]);
    }
    fails(&paths(json!({ "$.a": 1 })), &text("{\"a\": NaN}"), &["a body that is not JSON", "\"{\\\"a\\\": NaN}\""]);
    let many = json_answer(&json!(vec![1; 100_001]));
    fails(&paths(json!({ "$[*]": 1 })), &many, &["100001 values at $[*]; at most 100000 are looked at"]);
    let zipped = Answer::whole(200, headers(&[("content-encoding", "gzip")]), vec![0x1f, 0x8b], TOOK);
    fails(&paths(json!({ "$.a": 1 })), &zipped, &["content-encoding \"gzip\""]);
}

fn out(check: &Value) -> Value {
    json!({ "tensors": { "out": check } })
}

/// Fails when: datatype, shape, range, or the number of values is not held to.
#[test]
fn tensor_form() {
    let answer = v2("FP32", &[2, 2], &json!([[0.1, 0.9], [0.4, 0.6]]));
    holds(
        &out(&json!({ "datatype": "FP32", "shape": [-1, 2], "range": [0, 1], "data": [0.1, 0.9, 0.4, 0.6] })),
        &answer,
    );
    for (check, said) in [
        (json!({ "datatype": "FP64" }), "tensors.out.datatype: expected FP64, found FP32"),
        (json!({ "shape": [2, 3] }), "tensors.out.shape: expected [2, 3], found [2, 2]"),
        (json!({ "shape": [-1] }), "expected [any], found [2, 2]"),
        (json!({ "range": [0, 0.8] }), "tensors.out.range at [0,1]: expected 0 to 0.8, found 0.9"),
        (json!({ "data": [0.1] }), "tensors.out.data: expected 1 values, found 4 in the shape [2, 2]"),
        (json!({ "data": ["a", "b", "c", "d"] }), "expected \"a\", found 0.1"),
    ] {
        fails(&out(&check), &answer, &[said]);
    }
    fails(
        &json!({ "tensors": { "other": {} } }),
        &answer,
        &["tensors.other: expected an output of this name, found \"out\""],
    );
    fails(&out(&json!({})), &v2("FP32", &[3], &json!([1])), &["the shape [3] asks for 3 values, there are 1"]);
    fails(&out(&json!({})), &v2("FP32", &[usize::MAX, 2], &json!([1])), &["is too large"]);
    fails(&out(&json!({})), &v2("INT8", &[1], &json!([200])), &["200 is not INT8"]);
    fails(&out(&json!({})), &v2("FP32", &[1], &json!([null])), &["null is not FP32"]);
    fails(&out(&json!({})), &text("{}"), &["there is neither `predictions` nor `outputs`"]);
}

/// Fails when: errors are measured wrongly, the worst place is not named, or a datatype is asked for more than it has.
#[test]
fn tensor_values() {
    let answer = v2("FP32", &[2, 2], &json!([[0.1, 0.9], [0.4, 200.0]]));
    let near = |data: Value, abs: f64, rel: f64| out(&json!({ "data": data, "abs": abs, "rel": rel }));
    holds(&near(json!([0.105, 0.9, 0.4, 200.0]), 0.006, 0.0), &answer);
    holds(&near(json!([0.1, 0.9, 0.4, 199.0]), 0.0, 0.01), &answer);
    fails(
        &near(json!([0.1, 0.8, 0.4, 190.0]), 0.05, 0.0),
        &answer,
        &["tensors.out.data at [1,1]: expected 190 ± 0.05, found 200, off by 10; 2 of 4 values differ"],
    );
    let single = f64::from(0.1_f32);
    holds(&out(&json!({ "data": [0.1] })), &v2("FP32", &[1], &json!([single])));
    fails(&out(&json!({ "data": [0.1] })), &v2("FP64", &[1], &json!([single])), &["found 0.10000000149011612"]);
    let ids = v2("INT64", &[2], &json!([9_007_199_254_740_993_i64, 1]));
    holds(&out(&json!({ "data": [9_007_199_254_740_993_i64, 1] })), &ids);
    fails(&out(&json!({ "data": [9_007_199_254_740_992_i64, 1] })), &ids, &["at [0]", "1 of 2 values differ"]);
    fails(
        &near(json!([1e300, 0.9, 0.4, 200.0]), 1.0, 0.0),
        &answer,
        &["at [0,0]: expected 1e300 ± 1, found 0.1, off by 1e300"],
    );
    let words = v2("BYTES", &[2], &json!(["a", "b"]));
    holds(&out(&json!({ "data": ["a", "b"] })), &words);
    fails(&out(&json!({ "data": ["a", "c"] })), &words, &["at [1]: expected \"c\", found \"b\"; 1 of 2"]);
    fails(&out(&json!({ "data": ["a", "b"], "cosine": 1 })), &words, &["expected numbers to compare, found bytes"]);
}

/// Fails when: likeness of rows is measured over more or less than a row.
#[test]
fn tensor_likeness() {
    let answer = v2("FP64", &[2, 3], &json!([0.1, 0.7, 0.2, 0.5, 0.3, 0.2]));
    let data = json!([0.15, 0.65, 0.2, 0.3, 0.5, 0.2]);
    holds(&out(&json!({ "data": data, "cosine": 0.89 })), &answer);
    fails(
        &out(&json!({ "data": data, "cosine": 0.95 })),
        &answer,
        &["tensors.out.cosine at row 1: expected at least 0.95, found 0.894737"],
    );
    fails(
        &out(&json!({ "data": [0, 0, 0, 1, 1, 1], "cosine": 0.1 })),
        &answer,
        &["at row 0", "zeros alone on one side"],
    );
    holds(&out(&json!({ "data": data, "top_k": 2 })), &answer);
    fails(
        &out(&json!({ "data": data, "top_k": 1 })),
        &answer,
        &["tensors.out.top_k at row 1: expected 1 of the reference's top 1, found 0"],
    );
    holds(&out(&json!({ "data": data, "top_k": { "k": 3, "agree": 2 } })), &answer);
    holds(&out(&json!({ "data": data, "labels": true, "agree": 0.5 })), &answer);
    fails(
        &out(&json!({ "data": data, "labels": true })),
        &answer,
        &["tensors.out.labels at row 1: expected 1 (and 1 of the rows to agree), found 0; 1 of 2 rows agree"],
    );
    holds(&out(&json!({ "labels": [1, 0] })), &answer);
    fails(&out(&json!({ "labels": [1] })), &answer, &["expected 1 rows, found 2"]);
    holds(&out(&json!({ "labels": [2, 0] })), &v2("INT64", &[2], &json!([2, 0])));
    holds(&out(&json!({ "labels": [2, 0] })), &v2("INT64", &[2, 1], &json!([2, 0])));
    holds(&out(&json!({ "data": ["x", "y"], "labels": true, "agree": 0.5 })), &v2("BYTES", &[2], &json!(["x", "z"])));
}

/// Fails when: NaN or infinity passes, or makes a panic. Only the binary form can carry them.
#[test]
fn numbers_that_are_none() {
    for value in [f32::NAN, f32::INFINITY] {
        let head = json!({ "outputs": [{ "name": "out", "datatype": "FP32", "shape": [2], "parameters": { "binary_data_size": 8 } }] }).to_string();
        let length = head.len().to_string();
        let mut body = head.into_bytes();
        body.extend(1.0_f32.to_le_bytes());
        body.extend(value.to_le_bytes());
        let answer = Answer::whole(200, headers(&[("inference-header-content-length", &length)]), body, TOOK);
        fails(&out(&json!({ "shape": [2] })), &answer, &["tensors.out.finite at [1]: expected finite numbers, found "]);
        holds(&out(&json!({ "finite": false })), &answer);
        let all = json!({ "finite": false, "data": [1, 2], "abs": 1, "cosine": 0.5, "top_k": 1, "labels": true });
        fails(
            &out(&all),
            &answer,
            &["tensors.out.data at [1]", "tensors.out.cosine at row 0: expected at least 0.5, found NaN or infinity"],
        );
        fails(&json!({ "embeddings": { "data": [1, 1], "cosine": 0 } }), &answer, &["NaN or infinity"]);
    }
}

/// Fails when: predictions by rows, by named rows or by columns are taken apart wrongly.
#[test]
fn tf_serving() {
    let rows = json_answer(&json!({ "predictions": [[0.1, 0.9], [0.8, 0.2]] }));
    let expect = |name: &str, check: Value| json!({ "tensors": { name: check } });
    holds(
        &expect("predictions", json!({ "shape": [2, 2], "labels": [1, 0], "data": [[0.1, 0.9], [0.8, 0.2]] })),
        &rows,
    );
    fails(&expect("predictions", json!({ "datatype": "FP32" })), &rows, &["found an answer without datatypes"]);
    let named =
        json_answer(&json!({ "predictions": [{ "p": [0.1, 0.9], "id": "a" }, { "p": [0.8, 0.2], "id": "b" }] }));
    holds(&json!({ "tensors": { "p": { "labels": [1, 0] }, "id": { "data": ["a", "b"] } } }), &named);
    holds(
        &expect("predictions", json!({ "data": [1.0, 2.0], "labels": [1, 2] })),
        &json_answer(&json!({ "predictions": [1.0, 2.0] })),
    );
    holds(&expect("p", json!({ "data": [1, 2] })), &json_answer(&json!({ "outputs": { "p": [1, 2] } })));
    holds(&expect("predictions", json!({ "shape": [2, 1] })), &json_answer(&json!({ "outputs": [[1], [2]] })));
    holds(
        &expect("predictions", json!({ "data": ["hi"] })),
        &json_answer(&json!({ "predictions": [{ "b64": "aGk=" }] })),
    );
    fails(
        &expect("predictions", json!({})),
        &json_answer(&json!({ "predictions": [[1, 2], [3]] })),
        &["not all of one length"],
    );
    fails(
        &expect("p", json!({})),
        &json_answer(&json!({ "predictions": [{ "p": 1 }, {}] })),
        &["missing in predictions[1]"],
    );
}

/// Fails when: vectors are not found where servers put them, or their order or dimensions are not held to.
#[test]
fn embeddings() {
    let expect = |data: Value, cosine: f64| json!({ "embeddings": { "data": data, "cosine": cosine } });
    let both = expect(json!([[1, 0], [0, 1]]), 0.99);
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        [0.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat(),
    );
    for good in [
        json!({ "data": [{ "index": 1, "embedding": [0.0, 2.0] }, { "index": 0, "embedding": [1.0, 0.01] }] }),
        json!({ "data": [{ "embedding": [1.0, 0.0] }, { "embedding": encoded }] }),
        json!({ "embeddings": [[1, 0], [0, 1]] }),
        json!([[1, 0], [0, 1]]),
        json!({ "outputs": [{ "name": "e", "datatype": "FP32", "shape": [2, 2], "data": [1, 0, 0, 1] }] }),
    ] {
        holds(&both, &json_answer(&good));
    }
    let elsewhere = json!({ "embeddings": { "path": "$.r[*].v", "data": [[1, 0], [0, 1]], "cosine": 1 } });
    holds(&elsewhere, &json_answer(&json!({ "r": [{ "v": [2, 0] }, { "v": [0, 2] }] })));
    for (bad, said) in [
        (json!([[1, 0], [1, 1]]), "embeddings.cosine at vector 1: expected at least 0.99, found 0.707107"),
        (json!([[1, 0]]), "expected 2 vectors, found 1"),
        (json!([[1, 0], [0, 1, 0]]), "at vector 1: expected 2 dimensions, found 3"),
        (json!([[1, 0], [0, 0]]), "zeros alone on one side"),
        (json!({ "data": [{ "embedding": "?" }] }), "not base64"),
        (json!({ "data": [{}] }), "data[0] has no `embedding`"),
        (json!({ "a": 1 }), "neither `predictions` nor `outputs`"),
    ] {
        fails(&both, &json_answer(&bad), &[said]);
    }
    holds(&expect(json!([1e300, 1e300]), 1.0), &json_answer(&json!([1e-300, 1e-300])));
}

/// Fails when: a text is looked for in the wrong place, or a distance is measured in bytes.
#[test]
fn texts() {
    let of = |check: Value| json!({ "text": check });
    let chat = json_answer(&json!({ "choices": [{ "message": { "content": "Blåbær er blå" } }] }));
    holds(
        &of(json!({ "equals": "Blåbær er blå", "contains": ["blå", "er"], "not_contains": "red", "regex": "^Bl.b" })),
        &chat,
    );
    holds(&of(json!({ "edit_distance": { "to": "Blabær er bla", "max": 2 } })), &chat);
    for (check, said) in [
        (json!({ "contains": ["er", "red"] }), "text.contains: expected \"red\" in it, found \"Blåbær er blå\""),
        (json!({ "not_contains": "er" }), "text.not_contains: expected no \"er\" in it"),
        (json!({ "regex": "^b" }), "text.regex: expected a match of \"^b\""),
        (json!({ "equals": "x" }), "text.equals: expected \"x\""),
        (
            json!({ "edit_distance": { "to": "Blabær er bla", "max_ratio": 0.1 } }),
            "text.edit_distance: expected at most 1 characters of difference to \"Blabær er bla\", found 2: \"Bl",
        ),
        (json!({ "path": "$.choices", "equals": "x" }), "text: expected a text, found [{"),
        (json!({ "path": "$.nothing", "equals": "x" }), "0 values at $.nothing"),
    ] {
        fails(&of(check), &chat, &[said]);
    }
    holds(&of(json!({ "equals": "plain" })), &text("plain"));
    holds(&of(json!({ "equals": "a" })), &json_answer(&json!({ "text_output": "a" })));
    holds(&of(json!({ "path": "$.t", "equals": "a" })), &json_answer(&json!({ "t": "a" })));
    fails(&of(json!({ "equals": "x" })), &Answer { body: vec![0xff].into(), ..text("") }, &["not UTF-8"]);
    fails(
        &of(json!({ "edit_distance": { "to": "a", "max": 1 } })),
        &text(&"a".repeat(5001)),
        &["too long to be measured"],
    );
    fails(&of(json!({ "equals": "x" })), &text("\u{1b}[2Jnew\nline"), &["found \"\\u{1b}[2Jnew\\nline\""]);
}

fn chunk(content: &str) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": content }, "finish_reason": null }] }))
}

/// Fails when: a stream that is cut, empty, late, short or in error passes.
#[test]
fn streams() {
    let (first, second) = (chunk("Hel"), chunk("lo"));
    let end = format!("data: {}\n\n", json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }));
    let role = format!("data: {}\n\n", json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }] }));
    let whole = event_stream(&[(&role, 10), (&first, 200), (&second, 300), (&end, 300), ("data: [DONE]\n\n", 301)]);
    let of = |check: Value| json!({ "stream": check });
    let strict = json!({ "done": true, "finish_reason": ["length", "stop"], "min_tokens": 2, "first_token": "200ms" });
    holds(&of(strict), &whole);
    holds(&json!({ "text": { "equals": "Hello" } }), &whole);
    for (check, said) in [
        (json!({ "done": false }), "stream.done: expected [DONE] nowhere, found it at the end"),
        (json!({ "finish_reason": "length" }), "stream.finish_reason: expected length, found \"stop\""),
        (json!({ "min_tokens": 3 }), "stream.min_tokens: expected at least 3, found 2 in 5 events"),
        (json!({ "first_token": "199ms" }), "stream.first_token: expected within 199ms, found after 200ms"),
    ] {
        fails(&of(check), &whole, &[said]);
    }
    let cut = event_stream(&[(&first, 1), ("data: {\"choices\"", 2)]);
    fails(&of(json!({ "done": true })), &cut, &["stream.complete", "found an end inside an event", "stream.done"]);
    holds(&of(json!({ "complete": false })), &cut);
    let broken = event_stream(&[(&first, 1), ("data: {\"error\": {\"message\": \"out of memory\"}}\n\n", 2)]);
    fails(&of(json!({})), &broken, &["an error in it: {\"message\":\"out of memory\"}"]);
    fails(
        &of(json!({ "first_token": "1s" })),
        &event_stream(&[(": hello\n\n", 1)]),
        &["found no events", "found no token"],
    );
    fails(&of(json!({})), &text("x"), &["expected server-sent events, found an answer of content-type text/plain"]);
    fails(&json!({ "latency": "4ms" }), &whole, &["latency: expected at most 4ms, found 5ms"]);
    holds(&json!({ "latency": "5ms" }), &whole);
}

/// Every kind of expectation at once.
fn everything() -> Value {
    json!({
        "status": "2xx", "headers": { "x-a": "1", "content-type": { "regex": "json" } }, "latency": "1ms",
        "json": { "$..*": { "equals": { "a": [1] }, "abs": 1, "range": [0, 1], "type": "string", "length": 3 } },
        "tensors": { "out": { "shape": [-1, 2], "datatype": "FP16", "data": [1, 2, 3.5], "abs": 1, "cosine": 0.5, "top_k": 2, "labels": true } },
        "embeddings": { "data": [[1, 2]], "cosine": 0.5 },
        "text": { "contains": "a", "regex": "b", "edit_distance": { "to": "abc", "max": 1 } },
        "stream": { "done": true, "min_tokens": 1, "first_token": "1s", "finish_reason": "stop" },
    })
}

fn near_to_right() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        Just(json!(1e308)),
        Just(json!(-1)),
        Just(json!(null)),
        Just(json!("a")),
        any::<f64>().prop_map(|n| json!(n))
    ];
    let data = prop::collection::vec(number, 0..6);
    (data, prop::collection::vec(0_u64..4, 0..4), 0_usize..15, any::<bool>(), 0_usize..400).prop_map(|(data, shape, datatype, binary, cut)| {
        let names = ["FP16", "BF16", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "FP8"];
        let parameters = if binary { json!({ "binary_data_size": data.len() }) } else { json!({}) };
        let body = json!({
            "outputs": [{ "name": "out", "shape": shape, "datatype": names[datatype % 10], "data": data, "parameters": parameters }],
            "predictions": data, "data": [{ "embedding": data }],
        });
        let mut bytes = body.to_string().into_bytes();
        bytes.truncate(bytes.len().max(400) - if cut < 100 { cut } else { 0 });
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Fails when: some answer makes a judge panic.
    #[test]
    fn no_answer_makes_a_panic(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near_to_right()],
        length in prop_oneof![Just("0".to_owned()), Just("9".to_owned()), Just("-1".to_owned()), "[0-9]{1,3}"],
        kind in prop_oneof![Just("application/json"), Just("text/event-stream"), Just("text/plain")],
        has_length in any::<bool>(),
        arrivals in prop::collection::vec((any::<usize>(), any::<u32>()), 0..4),
        is_grpc in any::<bool>(),
    ) {
        let pairs = [("content-type", kind), ("inference-header-content-length", length.as_str())];
        let head = headers(if has_length { &pairs } else { &pairs[..1] });
        let arrivals = arrivals.into_iter().map(|(until, at)| Arrival { until, at: Duration::from_millis(at.into()) }).collect();
        let answer = Answer { arrivals, end: AnswerEnd::Complete, ..Answer::whole(200, head, body, TOOK) };
        failures(&everything(), &answer);
        for (key, value) in everything().as_object().unwrap() {
            failures(&json!({ key: value }), &answer);
        }
        if is_grpc {
            let line = json!({ "name": "a", "request": { "grpc": { "method": "/inference.GRPCInferenceService/ModelInfer", "message": {} } },
                "expect": { "tensors": { "out": { "shape": [1] } }, "json": { "$.a": 1 }, "message_base64": "AA==" } });
            let set = Set::parse(&line.to_string(), "g").unwrap();
            let trailers = headers(&[("grpc-status", "0")]);
            let framed = super::super::grpc::frame(&answer.body);
            set.cases()[0].judge(&Answer { trailers: trailers.clone(), ..answer.clone() });
            set.cases()[0].judge(&Answer { trailers, body: framed, ..answer });
        }
    }
}
