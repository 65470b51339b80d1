//! What is sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header, uri::PathAndQuery};

use super::grpc::{INFER_PATH, STREAM_INFER_PATH, frame, model_of};

/// A request, ready to be sent. A gRPC one is the same thing over HTTP/2, with its message framed in the body.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// The path and query, as a client writes it: what the service strips is still there.
    pub path: PathAndQuery,
    /// Without those that the connection needs: host, lengths and framing are the sender's.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub kind: RequestKind,
}

/// How the answer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    Http,
    /// A gRPC call whose message is opaque.
    Grpc,
    /// `ModelInfer` of the Open Inference Protocol.
    Infer,
    /// `ModelStreamInfer`, with one request and any number of answers.
    InferStream,
}

impl RequestKind {
    /// A gRPC call, by its method.
    fn of_call(path: &PathAndQuery) -> Self {
        match path.path() {
            INFER_PATH => Self::Infer,
            STREAM_INFER_PATH => Self::InferStream,
            _ => Self::Grpc,
        }
    }

    /// Its message is a `ModelInferRequest`.
    pub(super) fn is_inference(self) -> bool {
        matches!(self, Self::Infer | Self::InferStream)
    }
}

impl Request {
    /// A request that was seen, such as one of live traffic. Fields of the connection are left out.
    pub fn new(method: Method, path: PathAndQuery, headers: &HeaderMap, body: Bytes) -> Self {
        let kept = headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
        let headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let is_grpc =
            headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let kind = if is_grpc { RequestKind::of_call(&path) } else { RequestKind::Http };
        Self { method, path, headers, body, kind }
    }

    /// A gRPC call with one message.
    pub(super) fn grpc(path: PathAndQuery, mut metadata: HeaderMap, message: &[u8]) -> Self {
        metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        metadata.insert(header::TE, HeaderValue::from_static("trailers"));
        let kind = RequestKind::of_call(&path);
        Self { method: Method::POST, path, headers: metadata, body: frame(message), kind }
    }

    /// The model that a `ModelInfer` names.
    pub fn grpc_model(&self) -> Option<String> {
        if self.kind.is_inference() { model_of(&self.body) } else { None }
    }

    /// It needs HTTP/2 and, where a slot has one, the gRPC address.
    pub fn is_grpc(&self) -> bool {
        self.kind != RequestKind::Http
    }
}

/// What the sender of a request decides, and nobody else.
pub(super) const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
