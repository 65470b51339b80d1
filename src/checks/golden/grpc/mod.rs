//! gRPC golden requests: the messages of the Open Inference Protocol by hand (no protoc in the build), JSON to and from
//! them, and the frames round a message. Never: sending.

mod answer;
mod frames;
mod infer;
mod messages;
mod metadata;
mod parameters;
mod tensors;

#[cfg(test)]
mod tests;

pub(super) use answer::{STATUS_NAMES, status_name, status_of};
pub(super) use frames::{body_message, frame, messages};
pub(super) use infer::{decode_request, encode_request};
pub(super) use messages::{ModelInferResponse, ModelStreamInferResponse};
pub(super) use metadata::model_of;
pub use metadata::{ModelMetadata, TensorMetadata};
pub(super) use tensors::{response_json, response_tensors, stream_json};

/// The methods whose messages are understood.
pub(super) const INFER_PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
/// One request, any number of answers.
pub(super) const STREAM_INFER_PATH: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
