//! A case out of a line.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE, uri::PathAndQuery};

use super::{
    Case,
    body::{message, read_body},
};
use crate::checks::golden::{
    expect::Expect,
    fields::Fields,
    reader::{Node, Reader},
    request::{OF_THE_CONNECTION, Request, RequestKind},
    settings::{Settings, timeout},
};

impl Case {
    /// Reads a case; `None` if something of it is wrong, which has been noted.
    pub(in crate::checks::golden) fn read<'t>(
        reader: &mut Reader<'t>,
        node: &Node<'t>,
        line: usize,
        settings: &Settings,
    ) -> Option<Self> {
        let fields = reader.object(node, &["name", "request", "expect", "timeout"])?;
        let name = need(reader, node, &fields, "name", "{\"name\": \"…\", …}").and_then(|name| read_name(reader, name));
        let request = need(reader, node, &fields, "request", "{\"request\": {\"path\": \"/…\"}, …}");
        // Even of a wrong request: what is expected of gRPC must not be held against the keys of HTTP.
        let meant = if request.is_some_and(is_grpc) { RequestKind::Infer } else { RequestKind::Http };
        let request = request.and_then(|request| read_request(reader, request));
        let kind = request.as_ref().map_or(meant, |request| request.kind);
        let expect = match fields.find("expect") {
            Some(expect) => Some(Expect::read(reader, expect, kind)),
            None => need(reader, node, &fields, "expect", "\"expect\": {} to expect a success only")
                .map(|_| Expect::default()),
        };
        let own: Option<Duration> = fields.find("timeout").and_then(|node| timeout(reader, node));
        Some(Self {
            name: name?,
            line,
            request: request?,
            expect: expect?,
            timeout: own.unwrap_or(settings.timeout),
            answer_bytes_max: settings.answer_bytes_max,
        })
    }
}

fn need<'t, 'f>(
    reader: &mut Reader<'t>,
    node: &Node<'t>,
    fields: &'f Fields<'t>,
    key: &str,
    hint: &str,
) -> Option<&'f Node<'t>> {
    let found = fields.find(key);
    if found.is_none() {
        reader.refuse(node, format!("the key `{key}` is missing"), format!("write {hint}"));
    }
    found
}

pub(in crate::checks::golden) fn read_name<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<String> {
    let name = reader.string(node)?;
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        reader.refuse(node, "not a name", format!("write 1 to {NAME_CHARS_MAX} characters on one line"));
        return None;
    }
    Some(name)
}

pub(in crate::checks::golden) fn read_request<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Request> {
    if is_grpc(node) {
        let fields = reader.object(node, &["grpc"])?;
        return fields.find("grpc").and_then(|grpc| read_grpc(reader, grpc));
    }
    let fields = reader.object(node, &["method", "path", "headers", "json", "text", "base64"])?;
    let body = read_body(reader, node, &fields);
    let has_body = BODIES.iter().any(|key| fields.find(key).is_some());
    let method = match fields.find("method") {
        Some(method) => read_method(reader, method),
        None => Some(if has_body { Method::POST } else { Method::GET }),
    };
    let path = need(reader, node, &fields, "path", "\"path\": \"/v2/models/iris/infer\"")
        .and_then(|path| read_path(reader, path));
    let mut headers =
        fields.find("headers").map_or_else(|| Some(HeaderMap::new()), |headers| read_headers(reader, headers))?;
    let (content_type, body) = body?;
    if let Some(content_type) = content_type {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    }
    Some(Request { method: method?, path: path?, headers, body, kind: RequestKind::Http })
}

fn is_grpc(node: &Node<'_>) -> bool {
    Fields::of(node).is_some_and(|fields| fields.find("grpc").is_some())
}

fn read_grpc<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Request> {
    let fields = reader.object(node, &["method", "metadata", "message", "base64"])?;
    let hint = "\"method\": \"/inference.GRPCInferenceService/ModelInfer\"";
    let method = need(reader, node, &fields, "method", hint).and_then(|method| read_path(reader, method));
    let metadata = fields.find("metadata").map_or_else(|| Some(HeaderMap::new()), |node| read_headers(reader, node));
    let message = message(reader, node, &fields, method.as_ref()?);
    Some(Request::grpc(method?, metadata?, &message?))
}

fn read_method<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Method> {
    let text = reader.string(node)?;
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|method| *method != Method::CONNECT);
    let method = method.ok_or_else(|| format!("{text:?} is no method that can be sent"));
    reader.accept(node, method, "write a method such as \"POST\"")
}

fn read_path<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<PathAndQuery> {
    let text = reader.string(node)?;
    let path = if text.starts_with('/') { PathAndQuery::try_from(text.as_str()).ok() } else { None };
    let path = path.ok_or_else(|| format!("{text:?} is not a path"));
    reader.accept(
        node,
        path,
        "write the path alone, beginning with `/`, percent-encoded; the endpoint is chosen by the gate",
    )
}

/// An object of names; a list of values gives several lines of one name.
fn read_headers<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<HeaderMap> {
    let fields = reader.map(node)?;
    let (mut headers, mut all_right) = (HeaderMap::new(), true);
    for field in fields.iter() {
        let name = HeaderName::try_from(field.key.as_ref()).map_err(|_invalid| "not the name of a header");
        let name = reader.accept(&field.value, name, "write it without spaces and colons");
        if name.as_ref().is_some_and(|name| OF_THE_CONNECTION.contains(&name.as_str())) {
            reader.refuse(
                &field.value,
                "this header belongs to the connection",
                "leave it out: it is set when the request is sent",
            );
        }
        for item in reader.one_or_many(&field.value) {
            let value = reader.string(&item);
            let value = value.and_then(|text| {
                let value = HeaderValue::from_str(&text).map_err(|_invalid| "not the value of a header");
                reader.accept(&item, value, "write visible characters on one line")
            });
            match (&name, value) {
                (Some(name), Some(value)) => {
                    headers.append(name.clone(), value);
                }
                _ => all_right = false,
            }
        }
    }
    all_right.then_some(headers)
}

pub(super) const BODIES: [&str; 3] = ["json", "text", "base64"];
const NAME_CHARS_MAX: usize = 200;
