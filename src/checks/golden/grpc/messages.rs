//! `ModelInferRequest` and `ModelInferResponse` of `open_inference_grpc.proto`, field by field.
//!
//! Unknown fields are skipped, as protobuf has it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct ModelInferRequest {
    #[prost(string, tag = "1")]
    pub(super) model_name: String,
    #[prost(string, tag = "2")]
    pub(super) model_version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(super) parameters: BTreeMap<String, InferParameter>,
    #[prost(message, repeated, tag = "5")]
    pub(super) inputs: Vec<InferTensor>,
    #[prost(message, repeated, tag = "6")]
    pub(super) outputs: Vec<RequestedOutput>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(super) raw_input_contents: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct ModelInferResponse {
    #[prost(string, tag = "1")]
    pub(super) model_name: String,
    #[prost(string, tag = "2")]
    pub(super) model_version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(super) parameters: BTreeMap<String, InferParameter>,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::checks::golden) outputs: Vec<InferTensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(super) raw_output_contents: Vec<Bytes>,
}

/// One of the answers of `ModelStreamInfer`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct ModelStreamInferResponse {
    /// Not empty if this answer is an error; the stream may go on.
    #[prost(string, tag = "1")]
    pub(in crate::checks::golden) error_message: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::checks::golden) infer_response: Option<ModelInferResponse>,
}

/// `InferInputTensor` and `InferOutputTensor`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct InferTensor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(super) shape: Vec<i64>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(super) parameters: BTreeMap<String, InferParameter>,
    #[prost(message, optional, tag = "5")]
    pub(super) contents: Option<InferTensorContents>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct RequestedOutput {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) parameters: BTreeMap<String, InferParameter>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct InferParameter {
    #[prost(oneof = "ParameterChoice", tags = "1, 2, 3, 4, 5")]
    pub(super) choice: Option<ParameterChoice>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::checks::golden) enum ParameterChoice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::checks::golden) struct InferTensorContents {
    #[prost(bool, repeated, tag = "1")]
    pub(super) bool_contents: Vec<bool>,
    /// INT8, INT16, INT32.
    #[prost(int32, repeated, tag = "2")]
    pub(super) int_contents: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    pub(super) int64_contents: Vec<i64>,
    /// UINT8, UINT16, UINT32.
    #[prost(uint32, repeated, tag = "4")]
    pub(super) uint_contents: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    pub(super) uint64_contents: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    pub(super) fp32_contents: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    pub(super) fp64_contents: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) bytes_contents: Vec<Vec<u8>>,
}
