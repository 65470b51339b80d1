//! A golden file out of requests that were answered: how people come by their first set.
//!
//! Invariants: whatever is written passes with the very answers that it was made from; what is named is redacted in
//! keys, headers, query and tensors, or the request is left out with a reason: never written because nobody could look.

mod expectation;
mod line;
mod redact;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{
    answer::{Answer, AnswerEnd},
    file::Set,
    grpc::status_of,
    request::Request,
};

pub use redact::Redaction;

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `None` to have one made of method and path.
    pub name: Option<String>,
    pub request: Request,
    pub answer: Answer,
    /// The answer to the same request sent once more. What differs between the two is not expected to stay.
    pub again: Option<Answer>,
}

/// A golden file, and what did not get into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// JSON Lines, settings first.
    pub text: String,
    /// How many requests are in it.
    pub count: usize,
    pub left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub name: String,
    pub reason: String,
}

impl Set {
    /// Writes a golden file: status, tensors within a ten-thousandth, embeddings by cosine, a text only where the same
    /// request gives the same text; else what kind of answer it is.
    pub fn record(exchanges: &[Recorded], redaction: &Redaction) -> Recording {
        let mut recording =
            Recording { text: "{\"golden\": 1, \"need\": \"all\"}\n".to_owned(), count: 0, left_out: Vec::new() };
        let mut names = BTreeSet::new();
        for exchange in exchanges {
            let name = unique(name_of(exchange), &mut names);
            match worth_keeping(&exchange.answer).and_then(|()| line::write(&name, exchange, redaction)) {
                Ok(line) => {
                    recording.text.push_str(&line);
                    recording.text.push('\n');
                    recording.count += 1;
                }
                Err(reason) => recording.left_out.push(LeftOut { name, reason }),
            }
        }
        recording
    }
}

/// What went wrong once is no example. A refusal of a wrong request is.
fn worth_keeping(answer: &Answer) -> Result<(), String> {
    if answer.end != AnswerEnd::Complete {
        return Err("its answer is not complete".to_owned());
    }
    if answer.status >= 500 {
        return Err(format!("its answer is the error {}", answer.status));
    }
    match status_of(answer) {
        Some(status) if !GRPC_KEPT.contains(&status.code) => {
            Err(format!("its answer is the gRPC error {}", status.code))
        }
        _ => Ok(()),
    }
}

fn name_of(exchange: &Recorded) -> String {
    let Request { method, path, .. } = &exchange.request;
    let name = exchange.name.clone().unwrap_or_else(|| format!("{method} {}", path.path()));
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    if name.trim().is_empty() { method.to_string() } else { name }
}

fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number: usize| format!("{name} ({number})"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
    let free = free.unwrap_or(name);
    names.insert(free.clone());
    free
}

/// OK, INVALID_ARGUMENT, NOT_FOUND.
const GRPC_KEPT: [u32; 3] = [0, 3, 5];
/// Room is left for a number behind it.
const NAME_CHARS_MAX: usize = 150;
