//! Tensors of gRPC messages: the typed contents or the raw bytes, told apart by what is there.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    messages::{InferTensor, InferTensorContents, ModelInferResponse, ModelStreamInferResponse},
    parameters,
};
use crate::checks::golden::tensor::{Data, Datatype, Tensor, decode};

/// The outputs of an answer.
pub(in crate::checks::golden) fn response_tensors(response: &ModelInferResponse) -> Result<Vec<Tensor>, String> {
    all(&response.outputs, &response.raw_output_contents)
}

/// An answer as the protocol's JSON has it, every tensor with its `data`.
pub(in crate::checks::golden) fn response_json(response: &ModelInferResponse) -> Result<Value, String> {
    let outputs: Vec<Value> = response_tensors(response)?
        .iter()
        .zip(&response.outputs)
        .map(|(tensor, written)| with_parameters(tensor_json(tensor), written))
        .collect();
    let mut document = json!({
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "outputs": outputs,
    });
    if let Some(parameters) = parameters::to_json(&response.parameters) {
        document["parameters"] = parameters;
    }
    Ok(document)
}

/// All answers of a stream in their order, as `answers`; one that has no outputs is an empty object.
pub(in crate::checks::golden) fn stream_json(answers: &[ModelStreamInferResponse]) -> Result<Value, String> {
    let one = |answer: &ModelStreamInferResponse| answer.infer_response.as_ref().map_or(Ok(json!({})), response_json);
    let answers: Vec<Value> = answers.iter().map(one).collect::<Result<_, _>>()?;
    Ok(json!({ "answers": answers }))
}

pub(super) fn all(tensors: &[InferTensor], raw: &[Bytes]) -> Result<Vec<Tensor>, String> {
    if !raw.is_empty() && raw.len() != tensors.len() {
        return Err(format!("{} tensors, but raw contents for {}", tensors.len(), raw.len()));
    }
    tensors.iter().enumerate().map(|(index, tensor)| read(tensor, raw.get(index))).collect()
}

pub(super) fn with_parameters(mut document: Value, written: &InferTensor) -> Value {
    if let Some(parameters) = parameters::to_json(&written.parameters) {
        document["parameters"] = parameters;
    }
    document
}

/// A number that is none has no JSON: it becomes null, and a comparison fails on it.
pub(super) fn tensor_json(tensor: &Tensor) -> Value {
    let data = match &tensor.data {
        Data::Ints(values) if tensor.datatype == Some(Datatype::Bool) => {
            values.iter().map(|value| json!(*value != 0)).collect()
        }
        Data::Ints(values) => values.iter().map(|value| whole(*value)).collect(),
        Data::Floats(values) => values.iter().map(|value| json!(value)).collect(),
        Data::Bytes(values) => values.iter().map(|value| json!(String::from_utf8_lossy(value))).collect::<Vec<Value>>(),
    };
    let datatype = tensor.datatype.map_or("", Datatype::as_str);
    json!({ "name": tensor.name, "datatype": datatype, "shape": tensor.shape, "data": data })
}

fn whole(value: i128) -> Value {
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).unwrap_or(Value::Null)
}

fn read(tensor: &InferTensor, raw: Option<&Bytes>) -> Result<Tensor, String> {
    let name = &tensor.name;
    let wrong = |reason: String| format!("tensor {name:?}: {reason}");
    let datatype: Datatype = tensor.datatype.parse().map_err(wrong)?;
    let size =
        |size: &i64| usize::try_from(*size).map_err(|_negative| wrong(format!("its shape has a size of {size}")));
    let shape = tensor.shape.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let data = match (raw, &tensor.contents) {
        (Some(raw), _) => decode(datatype, raw).map_err(wrong)?,
        (None, Some(contents)) => contents_data(datatype, contents).map_err(wrong)?,
        (None, None) => empty(datatype),
    };
    Tensor::new(name.clone(), Some(datatype), shape, data)
}

fn empty(datatype: Datatype) -> Data {
    match datatype {
        Datatype::Bytes => Data::Bytes(Vec::new()),
        datatype if datatype.is_float() => Data::Floats(Vec::new()),
        _ => Data::Ints(Vec::new()),
    }
}

fn contents_data(datatype: Datatype, contents: &InferTensorContents) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => ints(&contents.bool_contents),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => ints(&contents.int_contents),
        Datatype::Int64 => ints(&contents.int64_contents),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => ints(&contents.uint_contents),
        Datatype::Uint64 => ints(&contents.uint64_contents),
        Datatype::Fp32 => Data::Floats(contents.fp32_contents.iter().copied().map(f64::from).collect()),
        Datatype::Fp64 => Data::Floats(contents.fp64_contents.clone()),
        Datatype::Bytes => Data::Bytes(contents.bytes_contents.clone()),
        Datatype::Fp16 | Datatype::Bf16 => return Err(format!("{datatype} has raw contents only")),
    })
}

fn ints<T: Copy + Into<i128>>(values: &[T]) -> Data {
    Data::Ints(values.iter().map(|value| (*value).into()).collect())
}
