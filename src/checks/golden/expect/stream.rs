//! A stream of server-sent events: its end, its length, and how soon it begins.

use std::time::Duration;

use super::{Failure, Node, Reader, View};
use crate::checks::golden::{
    evidence::{cut, duration, quoted},
    stream::TokenStream,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    complete: bool,
    done: Option<bool>,
    finish_reason: Option<Vec<String>>,
    min_tokens: Option<u64>,
    first_token: Option<Duration>,
}

impl Stream {
    /// `complete` holds unless it is said to be false.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let mut stream = Self { complete: true, ..Self::default() };
        let keys = ["complete", "done", "finish_reason", "min_tokens", "first_token"];
        for field in reader.object(node, &keys)?.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "complete" => stream.complete = reader.flag(value).unwrap_or(true),
                "done" => stream.done = reader.flag(value),
                "finish_reason" => stream.finish_reason = Some(reader.strings(value)),
                "min_tokens" => stream.min_tokens = reader.whole(value, 1, u64::MAX),
                "first_token" => stream.first_token = reader.duration(value),
                _ => {}
            }
        }
        Some(stream)
    }

    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        match view.stream() {
            Ok(stream) => failures.extend(self.faults(stream)),
            Err(reason) => failures.push(Failure::new("stream", "server-sent events", reason)),
        }
    }

    fn faults(&self, stream: &TokenStream) -> impl Iterator<Item = Failure> {
        let count = u64::try_from(stream.tokens).unwrap_or(u64::MAX);
        [
            self.complete.then(|| incomplete(stream)).flatten(),
            self.done.filter(|wanted| *wanted != stream.done).map(|wanted| {
                let (expected, found) =
                    if wanted { ("as the last event", "none") } else { ("nowhere", "it at the end") };
                Failure::new("stream.done", format!("[DONE] {expected}"), found)
            }),
            self.wrong_finish(stream),
            self.min_tokens.filter(|wanted| count < *wanted).map(|wanted| {
                Failure::new(
                    "stream.min_tokens",
                    format!("at least {wanted}"),
                    format!("{count} in {} events", stream.events),
                )
            }),
            self.late(stream),
        ]
        .into_iter()
        .flatten()
    }

    fn wrong_finish(&self, stream: &TokenStream) -> Option<Failure> {
        let wanted = self.finish_reason.as_ref()?;
        let found = stream.finish_reason.as_ref();
        let holds = found.is_some_and(|found| wanted.contains(found));
        let found = found.map_or_else(|| "none".to_owned(), |found| quoted(found));
        (!holds).then(|| Failure::new("stream.finish_reason", wanted.join(" or "), found))
    }

    fn late(&self, stream: &TokenStream) -> Option<Failure> {
        let max = self.first_token?;
        let expected = format!("within {}", duration(max));
        match stream.first_token {
            Some(at) if at <= max => None,
            Some(at) => Some(Failure::new("stream.first_token", expected, format!("after {}", duration(at)))),
            None => Some(Failure::new("stream.first_token", expected, "no token")),
        }
    }
}

fn incomplete(stream: &TokenStream) -> Option<Failure> {
    let failure = |found: String| Some(Failure::new("stream.complete", "a stream that ends behind an event", found));
    if let Some(error) = &stream.error {
        return failure(format!("an error in it: {}", cut(error)));
    }
    if stream.unfinished {
        return failure("an end inside an event".to_owned());
    }
    if stream.events == 0 { failure("no events".to_owned()) } else { None }
}
