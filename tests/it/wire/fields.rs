//! Field lines: RFC 9112 section 5, RFC 9110 section 5.5.

use super::{Bench, Case, SMUGGLED, expect, head, passed, refused};
use crate::support::wire::values;

const GET: &str = "GET / HTTP/1.1";

/// Fails when: a field line that is none is repaired or passed on.
#[tokio::test]
async fn field_lines_are_exact() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for field in [
        "x-a : 1\r\n",
        "x-a\t: 1\r\n",
        " x-a: 1\r\n",
        "\tx-a: 1\r\n",
        "x-a: 1\r\n 2\r\n",
        "x-a: 1\r\n\t2\r\n",
        "x-a:\r\n 1\r\n",
        "x-a: 1\r\n \r\n",
        "x-a: 1\x002\r\n",
        "x-a: \x00\r\n",
        "x-a\x00: 1\r\n",
        "x-a: 1\r2\r\n",
        "x-a: 1\r\r\n",
        "x-a: 1\n",
        "x-a: 1\nx-b: 2\r\n",
        "x-a: \x01\r\n",
        "x-a: \x08\r\n",
        "x-a: \x0b\r\n",
        "x-a: \x1f\r\n",
        "x-a: \x7f\r\n",
        ": 1\r\n",
        ":\r\n",
        "nonsense\r\n",
        "x a: 1\r\n",
        "x(a): 1\r\n",
        "x,a: 1\r\n",
        "x/a: 1\r\n",
        "x;a: 1\r\n",
        "x=a: 1\r\n",
        "x@a: 1\r\n",
        "x[a]: 1\r\n",
        "x{a}: 1\r\n",
        "\"x\": 1\r\n",
        "x\\a: 1\r\n",
        "x\x7f: 1\r\n",
        "é: 1\r\n",
        "<x>: 1\r\n",
        "x?: 1\r\n",
        "\rx: 1\r\n",
    ] {
        table.push(refused(&format!("{field:?}"), format!("{}{SMUGGLED}", head(GET, field))));
    }
    let first = format!("{GET}\r\n Host: iris.test\r\n\r\n{SMUGGLED}");
    table.push(refused("white space before the first field", first));
    table.push(refused("LF alone everywhere", format!("GET / HTTP/1.1\nHost: iris.test\n\n{SMUGGLED}")));
    table.push(refused("LF alone at the end", format!("{GET}\r\nHost: iris.test\r\n\n{SMUGGLED}")));
    table.push(refused("CR alone everywhere", format!("GET / HTTP/1.1\rHost: iris.test\r\r{SMUGGLED}\r\n\r\n")));
    table.push(refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03aaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n".to_vec()));
    bench.run(table).await;
}

/// Fails when: a lawful field is refused, or its value is changed.
#[tokio::test]
async fn lawful_fields_pass_unchanged() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for (field, wanted) in [
        ("x-a: 1", "1"),
        ("x-a:1", "1"),
        ("x-a: \t 1 \t ", "1"),
        ("x-a:", ""),
        ("x-a: a\tb", "a\tb"),
        ("x-a: :", ":"),
        ("x-a: é", "é"),
        ("x-a: \"q\\\"\"", "\"q\\\"\""),
        ("X-A: #", "#"),
        ("x-a: a, b,, c", "a, b,, c"),
    ] {
        table.push(passed(field, head(GET, &format!("{field}\r\n")), move |sent, _| {
            expect("the value", values(&sent.fields, "x-a"), vec![wanted.to_owned()])
        }));
    }
    table.push(passed("a name of every lawful kind", head(GET, "!#$%&'*+-.^_`|~09azAZ: 1\r\n"), |sent, _| {
        expect("the value", values(&sent.fields, "!#$%&'*+-.^_`|~09azAZ"), vec!["1".to_owned()])
    }));
    table.push(passed("several lines keep their order", head(GET, "x-a: 1\r\nx-b: 2\r\nX-A: 3\r\n"), |sent, _| {
        expect("the values", values(&sent.fields, "x-a"), vec!["1".to_owned(), "3".to_owned()])
    }));
    bench.run(table).await;
}
