//! An answer as the expectations look at it: each reading of it is made once, when the first of them asks.

use std::cell::OnceCell;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use prost::Message as _;
use serde_json::Value;

use super::{
    answer::Answer,
    evidence::quoted,
    grpc::{self, ModelInferResponse, ModelStreamInferResponse},
    request::RequestKind,
    stream::TokenStream,
    tensor::{self, Tensor},
};

type Reading<T> = OnceCell<Result<T, String>>;

/// One answer and what it says in each form. An error is the reason why it has no such form.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) answer: &'a Answer,
    pub(super) kind: RequestKind,
    json: Reading<Value>,
    tensors: Reading<Vec<Tensor>>,
    stream: Reading<TokenStream>,
    message: Reading<ModelInferResponse>,
    answers: Reading<Vec<ModelStreamInferResponse>>,
}

impl<'a> View<'a> {
    pub(super) fn new(answer: &'a Answer, kind: RequestKind) -> Self {
        Self {
            answer,
            kind,
            json: OnceCell::new(),
            tensors: OnceCell::new(),
            stream: OnceCell::new(),
            message: OnceCell::new(),
            answers: OnceCell::new(),
        }
    }

    /// The body as JSON; of `ModelInfer`, the answer in the protocol's JSON; of `ModelStreamInfer`, all of them.
    pub(super) fn json(&self) -> Result<&Value, String> {
        lent(self.json.get_or_init(|| match self.kind {
            RequestKind::Http => self.read_json(),
            RequestKind::Infer => grpc::response_json(self.message()?),
            RequestKind::InferStream => grpc::stream_json(self.answers()?),
            RequestKind::Grpc => Err("a gRPC message that is not ModelInfer's has no JSON".to_owned()),
        }))
    }

    /// The outputs of the Open Inference Protocol or of TF-Serving; of several answers, those of the last one that has some.
    pub(super) fn tensors(&self) -> Result<&Vec<Tensor>, String> {
        lent(self.tensors.get_or_init(|| {
            match self.kind {
                RequestKind::Infer => return grpc::response_tensors(self.message()?),
                RequestKind::InferStream => return grpc::response_tensors(self.last_outputs()?),
                RequestKind::Http | RequestKind::Grpc => {}
            }
            let document = self.json()?;
            let named = |list: &Vec<Value>| list.iter().any(|output| output.get("name").is_some()) || list.is_empty();
            match document.get("outputs").and_then(Value::as_array) {
                Some(list) if named(list) => {
                    tensor::outputs(document, tensor::split(&self.answer.headers, &self.answer.body)?.1)
                }
                _ => tensor::predictions(document),
            }
        }))
    }

    /// The body as a stream of tokens.
    pub(super) fn stream(&self) -> Result<&TokenStream, String> {
        lent(self.stream.get_or_init(|| {
            if !self.is_stream() {
                return Err(format!("an answer of content-type {}", self.header(&CONTENT_TYPE)));
            }
            TokenStream::read(self.answer.pieces()).map_err(|error| error.to_string())
        }))
    }

    /// What a person would read: the text of a stream, of a completion, or the whole body.
    pub(super) fn text(&self) -> Result<String, String> {
        if self.is_stream() {
            return Ok(self.stream()?.text.clone());
        }
        let document = if self.is_json() { self.json().ok() } else { None };
        if let Some(text) = document.and_then(completion) {
            return Ok(text.to_owned());
        }
        String::from_utf8(self.answer.body.to_vec()).map_err(|error| format!("a body that is not UTF-8: {error}"))
    }

    /// The raw message of a gRPC answer.
    pub(super) fn raw_message(&self) -> Result<&[u8], String> {
        grpc::body_message(&self.answer.body)
    }

    pub(super) fn is_stream(&self) -> bool {
        let essence = self.header(&CONTENT_TYPE).to_ascii_lowercase();
        essence.split(';').next().is_some_and(|essence| essence.trim() == "text/event-stream")
    }

    fn is_json(&self) -> bool {
        self.answer.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
    }

    fn message(&self) -> Result<&ModelInferResponse, String> {
        lent(self.message.get_or_init(|| {
            ModelInferResponse::decode(self.raw_message()?).map_err(|error| format!("no ModelInferResponse: {error}"))
        }))
    }

    fn answers(&self) -> Result<&Vec<ModelStreamInferResponse>, String> {
        lent(self.answers.get_or_init(|| {
            let decode = |message: &&[u8]| ModelStreamInferResponse::decode(*message);
            let answers: Result<_, _> = grpc::messages(&self.answer.body)?.iter().map(decode).collect();
            answers.map_err(|error| format!("no ModelStreamInferResponse: {error}"))
        }))
    }

    fn last_outputs(&self) -> Result<&ModelInferResponse, String> {
        let answers = self.answers()?;
        let mut with_outputs = answers.iter().filter_map(|answer| answer.infer_response.as_ref());
        let last = with_outputs.rfind(|answer| !answer.outputs.is_empty());
        last.ok_or_else(|| format!("{} answers, none of them with outputs", answers.len()))
    }

    /// The first answer of a stream that is an error, in the server's words: the call may end well all the same.
    pub(super) fn error_of_an_answer(&self) -> Option<&str> {
        if self.kind != RequestKind::InferStream {
            return None;
        }
        self.answers().ok()?.iter().map(|answer| answer.error_message.as_str()).find(|error| !error.is_empty())
    }

    fn read_json(&self) -> Result<Value, String> {
        let (json, _) = tensor::split(&self.answer.headers, &self.answer.body)?;
        serde_json::from_slice(json).map_err(|error| match self.answer.headers.get(CONTENT_ENCODING) {
            Some(coding) => format!("a body in content-encoding {coding:?}; ask for none: leave accept-encoding out"),
            None => format!(
                "a body that is not JSON ({error}): {}",
                quoted(&String::from_utf8_lossy(&json[..json.len().min(400)]))
            ),
        })
    }

    fn header(&self, name: &http::HeaderName) -> String {
        self.answer.headers.get(name).map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into())
    }
}

/// The text of an OpenAI-style completion, or of V2 `generate`.
pub(super) fn completion(document: &Value) -> Option<&str> {
    COMPLETIONS.iter().find_map(|path| document.pointer(path)?.as_str())
}

fn lent<T>(reading: &Result<T, String>) -> Result<&T, String> {
    reading.as_ref().map_err(String::clone)
}

const COMPLETIONS: [&str; 3] = ["/choices/0/message/content", "/choices/0/text", "/text_output"];
