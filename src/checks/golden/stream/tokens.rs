//! Tokens out of events, whoever streams them: OpenAI-style chunks, V2 `generate_stream`, and plain text.

use std::time::Duration;

use serde_json::Value;

use super::{SseError, SseEvent, SseParser};

/// What a stream of tokens came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::checks::golden) struct TokenStream {
    pub(in crate::checks::golden) events: usize,
    /// Events that carried text. A server may put several tokens into one event, so this is the least it can be.
    pub(in crate::checks::golden) tokens: usize,
    /// All of it, without reasoning.
    pub(in crate::checks::golden) text: String,
    pub(in crate::checks::golden) first_token: Option<Duration>,
    /// The end mark `[DONE]` came last.
    pub(in crate::checks::golden) done: bool,
    pub(in crate::checks::golden) finish_reason: Option<String>,
    /// An error that the server put into the stream.
    pub(in crate::checks::golden) error: Option<String>,
    /// It ended inside an event.
    pub(in crate::checks::golden) unfinished: bool,
}

impl TokenStream {
    /// Reads a whole stream from its pieces.
    pub(in crate::checks::golden) fn read<'b>(
        pieces: impl Iterator<Item = (&'b [u8], Duration)>,
    ) -> Result<Self, SseError> {
        let mut parser = SseParser::new();
        let mut stream = Self::default();
        let mut events = Vec::new();
        for (piece, at) in pieces {
            parser.feed(piece, at, &mut events)?;
            events.drain(..).for_each(|event| stream.take(&event));
        }
        stream.unfinished = parser.is_unfinished();
        Ok(stream)
    }

    fn take(&mut self, event: &SseEvent) {
        self.events += 1;
        self.done = event.data.trim() == "[DONE]";
        if self.done {
            return;
        }
        match serde_json::from_str::<Value>(&event.data) {
            Ok(Value::Object(members)) => self.take_chunk(&Value::Object(members), event),
            _ => self.take_text(&event.data, event.at),
        }
    }

    fn take_chunk(&mut self, chunk: &Value, event: &SseEvent) {
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            self.error = Some(error.to_string());
        }
        if event.event == "error" && self.error.is_none() {
            self.error = Some(event.data.clone());
        }
        let ending = FINISH_REASONS.iter().find_map(|path| chunk.pointer(path)?.as_str());
        if let Some(reason) = ending {
            self.finish_reason = Some(reason.to_owned());
        }
        match TEXTS.iter().find_map(|path| chunk.pointer(path)?.as_str().filter(|text| !text.is_empty())) {
            Some(text) => self.take_text(text, event.at),
            None if THOUGHTS.iter().any(|path| chunk.pointer(path).is_some_and(has_content)) => self.count(event.at),
            None => {}
        }
    }

    fn take_text(&mut self, text: &str, at: Duration) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.count(at);
        }
    }

    fn count(&mut self, at: Duration) {
        self.tokens += 1;
        self.first_token.get_or_insert(at);
    }
}

fn has_content(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Where a chunk has its text: chat and plain completions, V2 `generate_stream`, and two other common shapes.
const TEXTS: [&str; 6] =
    ["/choices/0/delta/content", "/choices/0/text", "/text_output", "/token/text", "/delta/text", "/delta"];
/// What a model works out without saying it is a token, too.
const THOUGHTS: [&str; 3] =
    ["/choices/0/delta/reasoning_content", "/choices/0/delta/reasoning", "/choices/0/delta/tool_calls"];
const FINISH_REASONS: [&str; 2] = ["/choices/0/finish_reason", "/delta/stop_reason"];
