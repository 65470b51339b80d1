//! The status: numbers or classes such as `2xx`; of gRPC, its own.

use super::{Failure, Node, Reader, RequestKind, View};
use crate::checks::golden::{
    evidence::{cut, quoted},
    grpc::{STATUS_NAMES, status_name, status_of},
};

/// What is allowed; the default is any success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Http(Vec<Allowed>),
    Grpc(Vec<u32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Exactly(u16),
    /// The first digit.
    Class(u16),
}

impl Default for Status {
    fn default() -> Self {
        Status::Http(vec![Allowed::Class(2)])
    }
}

impl Status {
    pub(super) fn default_of(kind: RequestKind) -> Self {
        if kind == RequestKind::Http { Self::default() } else { Status::Grpc(vec![0]) }
    }

    /// `200`, `"2xx"`, or a list of both.
    pub(super) fn read<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        *self = Status::Http(reader.one_or_many(node).iter().filter_map(|item| allowed(reader, item)).collect());
    }

    /// `0`, `"OK"`, or a list of both.
    pub(super) fn read_grpc<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>) {
        *self = Status::Grpc(reader.one_or_many(node).iter().filter_map(|item| grpc_code(reader, item)).collect());
    }

    /// Whether the answer is of the expected kind, so that its body is worth a look.
    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) -> bool {
        let failure = match self {
            Status::Http(allowed) => judge_http(allowed, view),
            Status::Grpc(allowed) => judge_grpc(allowed, view),
        };
        let holds = failure.is_none();
        failures.extend(failure);
        holds
    }
}

fn allowed<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Allowed> {
    if !node.is_string() {
        let number = reader.whole(node, 100, 599)?;
        return u16::try_from(number).ok().map(Allowed::Exactly);
    }
    let text = reader.string(node)?;
    let class = match text.as_bytes() {
        [digit @ b'1'..=b'5', b'x', b'x'] => Some(Allowed::Class(u16::from(digit - b'0'))),
        _ => None,
    };
    if class.is_none() {
        reader.refuse(node, format!("{text:?} is no class of statuses"), "write a number such as 200, or \"2xx\"");
    }
    class
}

fn grpc_code<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<u32> {
    if !node.is_string() {
        return reader.whole(node, 0, 16).and_then(|code| u32::try_from(code).ok());
    }
    let text = reader.string(node)?;
    let code = STATUS_NAMES.iter().position(|name| *name == text).and_then(|code| u32::try_from(code).ok());
    if code.is_none() {
        reader.refuse(node, format!("{text:?} is no gRPC status"), format!("write one of {}", STATUS_NAMES.join(", ")));
    }
    code
}

fn judge_http(allowed: &[Allowed], view: &View<'_>) -> Option<Failure> {
    let status = view.answer.status;
    let holds = allowed.iter().any(|one| match one {
        Allowed::Exactly(number) => *number == status,
        Allowed::Class(class) => status / 100 == *class,
    });
    let names: Vec<_> = allowed.iter().map(Allowed::to_string).collect();
    (!holds).then(|| Failure::new("status", names.join(" or "), format!("{status}{}", said(view))))
}

/// What a server says with an error helps the reader more than its number.
fn said(view: &View<'_>) -> String {
    let body = &view.answer.body;
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
    if text.trim().is_empty() { String::new() } else { format!(" with the body {}", quoted(text.trim())) }
}

fn judge_grpc(allowed: &[u32], view: &View<'_>) -> Option<Failure> {
    let names: Vec<_> = allowed.iter().map(|code| status_name(*code)).collect();
    let failure = |found| Some(Failure::new("grpc_status", names.join(" or "), found));
    match status_of(view.answer) {
        None => failure(format!("no gRPC status in an answer with HTTP status {}{}", view.answer.status, said(view))),
        Some(status) if allowed.contains(&status.code) => {
            view.error_of_an_answer().and_then(|error| failure(format!("an answer that is an error: {}", cut(error))))
        }
        Some(status) => failure(format!("{}: {}", status_name(status.code), cut(&status.message))),
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Allowed::Exactly(number) => write!(f, "{number}"),
            Allowed::Class(class) => write!(f, "{class}xx"),
        }
    }
}
