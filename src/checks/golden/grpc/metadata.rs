//! `ModelMetadata` of `open_inference_grpc.proto`: what a server says of a model, and which model a request is for.

use prost::Message;

use super::{body_message, status_name, status_of};
use crate::checks::golden::{answer::Answer, request::Request};

/// The beginning of `ModelInferRequest`, which is the same as that of `ModelMetadataRequest`.
#[derive(Clone, PartialEq, Message)]
struct ModelName {
    #[prost(string, tag = "1")]
    name: String,
}

/// What a server says of a model.
#[derive(Clone, PartialEq, Message)]
pub struct ModelMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// -1 is any size.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

impl ModelMetadata {
    /// The question for it.
    pub fn ask(model: &str) -> Request {
        let message = ModelName { name: model.to_owned() }.encode_to_vec();
        Request::grpc(http::uri::PathAndQuery::from_static(METADATA_PATH), http::HeaderMap::new(), &message)
    }

    /// Understands the answer.
    ///
    /// # Errors
    /// What was answered instead, such as `UNIMPLEMENTED`.
    pub fn read(answer: &Answer) -> Result<Self, String> {
        match status_of(answer) {
            Some(status) if status.code == 0 => {}
            Some(status) => return Err(status_name(status.code)),
            None => return Err(format!("{} without a gRPC status", answer.status)),
        }
        Self::decode(body_message(&answer.body)?).map_err(|error| format!("no ModelMetadataResponse: {error}"))
    }
}

/// The model that a `ModelInfer` message is for.
pub(in crate::checks::golden) fn model_of(framed: &[u8]) -> Option<String> {
    let request = ModelName::decode(body_message(framed).ok()?).ok()?;
    Some(request.name).filter(|name| !name.is_empty())
}

const METADATA_PATH: &str = "/inference.GRPCInferenceService/ModelMetadata";
