//! `Max-Forwards`: how far OPTIONS and TRACE may go (RFC 9110 section 7.6.2).

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, header, request::Parts};

use super::{
    body::AnswerBody,
    exchange::Exchange,
    headers::{self, Seen},
};

/// What a reverse proxy has something to say to.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
/// Fields that are nobody's business but their receiver's; a trace does not show them (RFC 9110 section 9.3.8).
const SECRETS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, headers::X_VERDIGRIS_TOKEN];

/// Where a request with `Max-Forwards` ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It goes on; the number, if there is one, has been lowered.
    Further,
    /// The proxy is its last recipient.
    Here,
}

/// Counts one step. Other methods, and a value that is not a number, are passed on as they are.
pub(super) fn step(head: &mut Parts) -> Reach {
    if head.method != Method::OPTIONS && head.method != Method::TRACE {
        return Reach::Further;
    }
    let left: Option<u64> = head
        .headers
        .get(header::MAX_FORWARDS)
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok());
    match left {
        None => Reach::Further,
        Some(0) => Reach::Here,
        Some(left) => {
            head.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
            Reach::Further
        }
    }
}

/// The proxy's answer to a request that goes no further.
pub(super) fn answer(exchange: &Rc<Exchange>, head: &Parts) -> Response<AnswerBody> {
    let text = if head.method == Method::TRACE { Bytes::from(trace(head)) } else { Bytes::new() };
    let mut answer = Response::new(AnswerBody::own(text, exchange));
    let fields = answer.headers_mut();
    if head.method == Method::TRACE {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
    } else {
        fields.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    }
    headers::mark(fields, Seen::default(), exchange);
    exchange.answered(answer.status().as_u16(), false);
    answer
}

/// The request as it was understood.
fn trace(head: &Parts) -> Vec<u8> {
    let first = format!("{} {} {:?}", head.method, head.uri, head.version);
    headers::in_text(&first, head.headers.iter().filter(|(name, _)| !SECRETS.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, value: &str) -> Parts {
        http::Request::builder()
            .method(method)
            .uri("/a?b")
            .header("max-forwards", value)
            .header("cookie", "secret")
            .header("x-verdigris-token", "secret")
            .header("x-a", "1")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn each_step_counts() {
        for (method, value, reach, left) in [
            ("OPTIONS", "0", Reach::Here, "0"),
            ("TRACE", "0", Reach::Here, "0"),
            ("TRACE", "10", Reach::Further, "9"),
            ("OPTIONS", "1", Reach::Further, "0"),
            ("OPTIONS", "+1", Reach::Further, "+1"),
            ("OPTIONS", "x", Reach::Further, "x"),
            ("GET", "0", Reach::Further, "0"),
        ] {
            let mut head = head(method, value);
            assert_eq!(step(&mut head), reach, "{method} {value}");
            assert_eq!(head.headers["max-forwards"], left, "{method} {value}");
        }
    }

    #[test]
    fn a_trace_shows_no_secrets() {
        let text = String::from_utf8(trace(&head("TRACE", "0"))).unwrap();
        assert_eq!(text, "TRACE /a?b HTTP/1.1\r\nmax-forwards: 0\r\nx-a: 1\r\n\r\n");
    }
}
