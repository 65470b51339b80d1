//! What an answer must be like. Each kind reads itself from the file and judges an answer.
//!
//! Invariants: judging is pure and never panics; a failure says what was expected, what was found, and where; an answer
//! that cannot be read in the form that a kind needs is a failure with the reason.

mod compare;
mod embeddings;
mod header;
mod json;
mod latency;
mod message;
mod path;
mod similar;
mod status;
mod stream;
mod tensor;
mod text;
mod tolerance;
mod vectors;

#[cfg(test)]
mod tests;

use super::{
    reader::{Node, Reader},
    request::RequestKind,
    verdict::Failure,
    view::View,
};

pub(super) use text::DISTANCE_CHARS_MAX;
pub(super) use vectors::vectors;

/// All expectations of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    status: status::Status,
    headers: Vec<header::Header>,
    json: Vec<json::Json>,
    tensors: Vec<tensor::TensorCheck>,
    embeddings: Option<embeddings::Embeddings>,
    text: Option<text::Text>,
    stream: Option<stream::Stream>,
    message: Option<message::RawMessage>,
    latency: Option<latency::Latency>,
}

impl Expect {
    /// Reads `expect`. What cannot be understood is noted and left out.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>, kind: RequestKind) -> Self {
        let Some(fields) = reader.object(node, keys(kind)) else { return Self::default() };
        let mut expect = Self { status: status::Status::default_of(kind), ..Self::default() };
        for field in fields.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "status" if kind == RequestKind::Http => expect.status.read(reader, value),
                "grpc_status" if kind != RequestKind::Http => expect.status.read_grpc(reader, value),
                "headers" => expect.headers = header::read(reader, value),
                "json" => expect.json = json::read(reader, value),
                "tensors" => expect.tensors = tensor::read(reader, value),
                "embeddings" => expect.embeddings = embeddings::Embeddings::read(reader, value),
                "text" => expect.text = text::Text::read(reader, value),
                "stream" => expect.stream = stream::Stream::read(reader, value),
                "message_base64" => expect.message = message::RawMessage::read(reader, value),
                "latency" => expect.latency = latency::Latency::read(reader, value),
                _ => {}
            }
        }
        expect
    }

    /// Every expectation that does not hold.
    pub(super) fn judge(&self, view: &View<'_>) -> Vec<Failure> {
        let mut failures = Vec::new();
        if let Some(fault) = view.answer.end.fault() {
            failures.push(Failure::new("answer", "a complete answer", fault));
        }
        let is_complete = failures.is_empty();
        let is_of_the_status = self.status.judge(view, &mut failures);
        self.headers.iter().for_each(|header| header.judge(view, &mut failures));
        if let Some(latency) = &self.latency {
            latency.judge(view, &mut failures);
        }
        // The rest of an answer of another kind, or of a piece of one, would only repeat the news.
        if is_complete && is_of_the_status {
            self.judge_body(view, &mut failures);
        }
        failures
    }

    /// The first expectation of its end and its status that does not hold.
    pub(super) fn error_in(&self, view: &View<'_>) -> Option<Failure> {
        if let Some(fault) = view.answer.end.fault() {
            return Some(Failure::new("answer", "a complete answer", fault));
        }
        let mut failures = Vec::new();
        self.status.judge(view, &mut failures);
        failures.pop()
    }

    fn judge_body(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        self.json.iter().for_each(|json| json.judge(view, failures));
        self.tensors.iter().for_each(|tensor| tensor.judge(view, failures));
        if let Some(embeddings) = &self.embeddings {
            embeddings.judge(view, failures);
        }
        if let Some(text) = &self.text {
            text.judge(view, failures);
        }
        if let Some(stream) = &self.stream {
            stream.judge(view, failures);
        }
        if let Some(message) = &self.message {
            message.judge(view, failures);
        }
    }
}

fn keys(kind: RequestKind) -> &'static [&'static str] {
    match kind {
        RequestKind::Http => &["status", "headers", "json", "tensors", "embeddings", "text", "stream", "latency"],
        RequestKind::Infer | RequestKind::InferStream => {
            &["grpc_status", "headers", "json", "tensors", "embeddings", "message_base64", "latency"]
        }
        RequestKind::Grpc => &["grpc_status", "headers", "message_base64", "latency"],
    }
}
