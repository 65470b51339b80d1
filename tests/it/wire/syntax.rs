//! First lines, targets and hosts: RFC 9112 sections 2 and 3.

use super::{Bench, Case, SMUGGLED, arrives, expect, head, passed, refused};
use crate::support::wire::{value, values};

const HOST: &str = "Host: iris.test\r\n";

fn bad_line(line: &str) -> Case {
    refused(&format!("{line:?}"), format!("{line}\r\n{HOST}\r\n{SMUGGLED}"))
}

fn target(line: &str, wanted: &'static str) -> Case {
    passed(&format!("{line:?}"), format!("{line}\r\n{HOST}\r\n"), move |sent, _| {
        expect("the target", sent.target.as_str(), wanted)?;
        expect("the hosts", values(&sent.fields, "host"), vec!["iris.test".to_owned()])
    })
}

/// Fails when: a first line that is none is guessed at.
#[tokio::test]
async fn first_lines_are_exact() {
    let bench = Bench::new("").await;
    let lines = [
        "GET /",
        "GET",
        "/ HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET / HTTP/1.1 x",
        "GET / http/1.1",
        "GET / Http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/01.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1.01",
        "GET / HTTP/2.0",
        "GET / HTTP/3.0",
        "GET / HTTP/0.9",
        "GET / HTTP/9.9",
        "GET / HTTPS/1.1",
        "GET / HTTP 1.1",
        "GET / HTTP/1,1",
        "GET / HTTP/-1.1",
        "GET / XTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\x00",
        "G(T / HTTP/1.1",
        "G\"T / HTTP/1.1",
        "G:T / HTTP/1.1",
        "G/T / HTTP/1.1",
        "G\x00T / HTTP/1.1",
        "GÉT / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\x00b HTTP/1.1",
        "GET /a\x07b HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET /a\rb HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /#fragment HTTP/1.1",
        "GET /a?b#c HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "POST * HTTP/1.1",
        "GET ?q HTTP/1.1",
        "GET iris.test HTTP/1.1",
        "GET iris.test:80 HTTP/1.1",
        "CONNECT iris.test:443 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT http://iris.test/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://a@iris.test/ HTTP/1.1",
        "GET ftp://iris.test/ HTTP/1.1",
        "GET http://iris.test:port/ HTTP/1.1",
        "GET http://iris.test:999999/ HTTP/1.1",
        "OPTIONS *x HTTP/1.1",
        "GET / HTTP/1.1\nX: y",
        "PRI * HTTP/2.0",
    ];
    bench.run(lines.into_iter().map(bad_line).collect()).await;
}

/// Fails when: a lawful first line is refused, or its target is changed on the way.
#[tokio::test]
async fn lawful_first_lines_pass() {
    let bench = Bench::new("").await;
    let mut table = vec![
        target("GET / HTTP/1.1", "/"),
        target("GET /a%2Fb/%7euser//c/../d?q=%20+&&x HTTP/1.1", "/a%2Fb/%7euser//c/../d?q=%20+&&x"),
        target("GET /a;b=c/:predict HTTP/1.1", "/a;b=c/:predict"),
        target("GET //two HTTP/1.1", "//two"),
        target("GET /? HTTP/1.1", "/?"),
        target("GET /?a?b HTTP/1.1", "/?a?b"),
        target("GET /%00 HTTP/1.1", "/%00"),
        target("GET /%zz HTTP/1.1", "/%zz").or_refused(),
        target("GET /\"<>\\^`{|} HTTP/1.1", "/\"<>\\^`{|}").or_refused(),
        target("GET /é HTTP/1.1", "/é").or_refused(),
        target("GET http://iris.test/a?b HTTP/1.1", "/a?b"),
        target("GET HTTP://iris.test/a HTTP/1.1", "/a"),
        target("GET http://iris.test HTTP/1.1", "/"),
        target("GET http://iris.test?q HTTP/1.1", "/?q"),
        target("OPTIONS * HTTP/1.1", "*"),
        target("OPTIONS http://iris.test/ HTTP/1.1", "/"),
        target("OPTIONS /a HTTP/1.1", "/a"),
        target("BREW /pot HTTP/1.1", "/pot"),
        target("get / HTTP/1.1", "/"),
        target("M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1", "/"),
        target("GET / HTTP/1.2", "/").or_refused(),
        target("GET / HTTP/1.9", "/").or_refused(),
        target("\r\nGET / HTTP/1.1", "/"),
        target("\r\n\r\nGET / HTTP/1.1", "/"),
    ];
    let old = |line: &str, fields: &str| passed(line, format!("{line}\r\n{fields}\r\n"), arrives);
    table.push(old("GET / HTTP/1.0", HOST).closes());
    table.push(old("GET /no-host HTTP/1.0", "").closes());
    table.push(passed(
        "HTTP/1.0, kept alive",
        format!("GET / HTTP/1.0\r\n{HOST}Connection: keep-alive\r\n\r\n"),
        |_, answer| expect("Connection", answer.field("connection").as_deref(), Some("keep-alive")),
    ));
    table.push(passed(
        "absolute form wins over Host",
        "GET http://real.test:81/a HTTP/1.1\r\nHost: other.test\r\n\r\n",
        |sent, _| expect("the host", values(&sent.fields, "host"), vec!["real.test:81".to_owned()]),
    ));
    bench.run(table).await;
}

/// Fails when: HTTP/1.1 is taken without exactly one valid Host (RFC 9112 section 3.2).
#[tokio::test]
async fn there_is_one_valid_host() {
    let bench = Bench::new("").await;
    let mut table: Vec<Case> = Vec::new();
    for fields in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: iris.test\r\nHost: iris.test\r\n",
        "Host: iris.test\r\nHost: evil.test\r\n",
        "Host: iris.test\r\nhost: evil.test\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: /\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: u@iris.test\r\n",
        "Host: iris.test:80x\r\n",
        "Host: iris.test:-1\r\n",
        "Host: iris.test:80:80\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1]\r\n",
        "Host: []\r\n",
        "Host: a[1]\r\n",
        "Host: http://iris.test\r\n",
        "Host: a\\b\r\n",
        "Host: \"a\"\r\n",
        "Host: <a>\r\n",
        "Host: é\r\n",
        "Host : iris.test\r\n",
        " Host: iris.test\r\n",
        "Host: iris.test\r\n evil.test\r\n",
    ] {
        table.push(refused(&format!("{fields:?}"), format!("GET / HTTP/1.1\r\n{fields}\r\n{SMUGGLED}")));
    }
    for fields in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
        let bytes = format!("GET http://iris.test/ HTTP/1.1\r\n{fields}\r\n{SMUGGLED}");
        table.push(refused(&format!("absolute form with {fields:?}"), bytes));
    }
    table.push(refused("two hosts in HTTP/1.0", format!("GET / HTTP/1.0\r\n{HOST}{HOST}\r\n")));
    for host in [
        "iris.test",
        "iris.test:80",
        "iris.test:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "IRIS.test",
        "a_b.test",
        "a,b",
        "a%20b",
    ] {
        table.push(passed(host, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), move |sent, _| {
            expect("the host", value(&sent.fields, "host").as_deref(), Some(host))
        }));
    }
    table.push(passed("a host at the end", head("GET / HTTP/1.1", ""), arrives));
    bench.run(table).await;
}
