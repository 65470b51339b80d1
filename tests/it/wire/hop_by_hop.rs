//! Fields that are for one hop, and those a gateway adds: RFC 9110 sections 7.6.1, 7.6.3, 7.8 and 10.1.4.

use super::{Bench, Case, expect, head, passed, post};
use crate::support::wire::{value, values};

/// The fields arrive without these.
fn without(name: &str, fields: &str, gone: &'static [&'static str]) -> Case {
    passed(name, head("GET / HTTP/1.1", fields), move |sent, _| {
        for name in gone {
            expect(name, value(&sent.fields, name), None)?;
        }
        expect("what stays", value(&sent.fields, "x-stays").unwrap_or_default().as_str(), "1")
    })
}

/// Fails when: a field for one hop is passed on, or one that is not gets lost.
#[tokio::test]
async fn fields_for_one_hop_end_here() {
    let bench = Bench::new("").await;
    let mut table = vec![
        without("nominated", "X-Stays: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n", &["x-hop", "connection"]),
        without("nominated in another case", "X-Stays: 1\r\nConnection: X-HOP\r\nx-hop: 1\r\n", &["x-hop"]),
        without("nominated before", "X-Hop: 1\r\nX-Stays: 1\r\nConnection: x-hop\r\nX-Hop: 2\r\n", &["x-hop"]),
        without("two nominated", "X-Stays: 1\r\nConnection: a-a ,\tb-b\r\nA-A: 1\r\nB-B: 1\r\n", &["a-a", "b-b"]),
        without(
            "in two lines",
            "Connection: a-a\r\nX-Stays: 1\r\nConnection: b-b\r\nA-A: 1\r\nB-B: 1\r\n",
            &["a-a", "b-b"],
        ),
        without("with empty elements", "X-Stays: 1\r\nConnection: ,, a-a,,\r\nA-A: 1\r\n", &["a-a", "connection"]),
        without(
            "keep-alive",
            "X-Stays: 1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
            &["keep-alive", "connection"],
        ),
        without("keep-alive, not nominated", "X-Stays: 1\r\nKeep-Alive: timeout=5\r\n", &["keep-alive"]),
        without("proxy-connection", "X-Stays: 1\r\nProxy-Connection: keep-alive\r\n", &["proxy-connection"]),
        without("TE without trailers", "X-Stays: 1\r\nTE: gzip;q=0.5\r\nConnection: TE\r\n", &["te", "connection"]),
        without(
            "h2c",
            "X-Stays: 1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            &["upgrade", "http2-settings", "connection"],
        ),
        without(
            "h2c, settings not nominated",
            "X-Stays: 1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            &["upgrade", "http2-settings"],
        ),
        without("h2c among others", "X-Stays: 1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n", &["upgrade"]),
        without("h2c in capitals", "X-Stays: 1\r\nConnection: upgrade\r\nUpgrade: H2C\r\n", &["upgrade"]),
        without("an upgrade that is not nominated", "X-Stays: 1\r\nUpgrade: websocket\r\n", &["upgrade"]),
        without("the slot's mark", "X-Stays: 1\r\nX-Verdigris-Slot: green\r\n", &["x-verdigris-slot"]),
    ];
    for te in ["trailers", "gzip, trailers", "Trailers;q=1, trailers"] {
        table.push(passed(te, head("GET / HTTP/1.1", &format!("TE: {te}\r\nConnection: TE\r\n")), |sent, _| {
            expect("TE", value(&sent.fields, "te").as_deref(), Some("trailers"))?;
            expect("Connection", value(&sent.fields, "connection").as_deref(), Some("te"))
        }));
    }
    table.push(without("closes", "X-Stays: 1\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n", &["x-hop"]).closes());
    table.push(without("closes in another case", "X-Stays: 1\r\nConnection: Close\r\n", &["x-close"]).closes());
    table.push(
        without(
            "closes and keeps alive",
            "X-Stays: 1\r\nConnection: keep-alive\r\nConnection: close\r\n",
            &["keep-alive"],
        )
        .closes(),
    );
    bench.run(table).await;
}

/// Fails when: what the proxy says can be forged or stripped, or a message loses what makes it one.
#[tokio::test]
async fn a_client_cannot_strip_what_makes_the_message() {
    let bench = Bench::new("").await;
    let named =
        ["content-length", "host", "x-forwarded-for", "x-request-id", "via", "x-forwarded-host", "transfer-encoding"];
    let mut table: Vec<Case> = named
        .into_iter()
        .map(|name| {
            passed(name, post(&format!("Content-Length: 3\r\nConnection: {name}\r\n"), "abc"), |sent, _| {
                expect("the body", sent.body.as_slice(), b"abc")?;
                expect("the host", value(&sent.fields, "host").as_deref(), Some("iris.test"))?;
                expect("the client", value(&sent.fields, "x-forwarded-for").as_deref(), Some("127.0.0.1"))?;
                expect("the id", value(&sent.fields, "x-request-id").is_some(), true)?;
                expect("Via", value(&sent.fields, "via").as_deref(), Some("1.1 verdigris"))
            })
        })
        .collect();
    table.push(passed("Via goes on", head("GET / HTTP/1.1", "Via: 1.0 first, 1.1 second\r\n"), |sent, _| {
        expect("Via", values(&sent.fields, "via").join(", ").as_str(), "1.0 first, 1.1 second, 1.1 verdigris")
    }));
    table.push(
        passed("Via names the version that came", "GET / HTTP/1.0\r\nHost: iris.test\r\n\r\n", |sent, _| {
            expect("Via", value(&sent.fields, "via").as_deref(), Some("1.0 verdigris"))?;
            expect("the version", sent.head.starts_with(b"GET / HTTP/1.1\r\n"), true)
        })
        .closes(),
    );
    bench.run(table).await;
}
