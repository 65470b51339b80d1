//! `ModelInferRequest` to and from the JSON that a golden file has: the same JSON that the HTTP protocol takes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{
    messages::{InferTensor, InferTensorContents, ModelInferRequest, RequestedOutput},
    parameters, tensors,
};
use crate::checks::golden::tensor::{Data, Datatype, Tensor, data_of, encode};

/// The protobuf bytes of a message in JSON.
///
/// An input's `data` goes into the contents of its datatype. FP16 and BF16 have none, so that with one of them all
/// inputs are sent as raw contents; `raw_input_contents` in base64 may be given instead of `data`.
pub(in crate::checks::golden) fn encode_request(message: &Value) -> Result<Bytes, String> {
    let members = message.as_object().ok_or("the message is not an object")?;
    known(
        members,
        "the message",
        &["model_name", "model_version", "id", "parameters", "inputs", "outputs", "raw_input_contents"],
    )?;
    let mut request = ModelInferRequest {
        model_name: text(members, "model_name")?,
        model_version: text(members, "model_version")?,
        id: text(members, "id")?,
        parameters: parameters::from_json(members.get("parameters"))?,
        ..ModelInferRequest::default()
    };
    for output in list(members, "outputs")? {
        let output = output.as_object().ok_or("an output is not an object")?;
        known(output, "an output", &["name", "parameters"])?;
        let parameters = parameters::from_json(output.get("parameters"))?;
        request.outputs.push(RequestedOutput { name: text(output, "name")?, parameters });
    }
    let mut values = Vec::new();
    for input in list(members, "inputs")? {
        let (tensor, data) = read_input(input)?;
        request.inputs.push(tensor);
        values.push(data);
    }
    request.raw_input_contents = raw_contents(list(members, "raw_input_contents")?)?;
    fill(&mut request, values)?;
    Ok(request.encode_to_vec().into())
}

/// The JSON of a message that was seen, such as one of live traffic.
pub(in crate::checks::golden) fn decode_request(message: &[u8]) -> Result<Value, String> {
    let request = ModelInferRequest::decode(message).map_err(|error| format!("no ModelInferRequest: {error}"))?;
    let inputs = tensors::all(&request.inputs, &request.raw_input_contents)?;
    let lossless = |tensor: &Tensor| match &tensor.data {
        Data::Floats(values) => values.iter().all(|value| value.is_finite()),
        Data::Bytes(values) => values.iter().all(|value| std::str::from_utf8(value).is_ok()),
        Data::Ints(_) => true,
    };
    if !inputs.iter().all(lossless) {
        return Err("its inputs have values that JSON cannot hold".to_owned());
    }
    let mut document = json!({ "model_name": request.model_name });
    let both = inputs.iter().zip(&request.inputs);
    document["inputs"] =
        both.map(|(tensor, written)| tensors::with_parameters(tensors::tensor_json(tensor), written)).collect();
    for (key, value) in [("model_version", &request.model_version), ("id", &request.id)] {
        if !value.is_empty() {
            document[key] = json!(value);
        }
    }
    if let Some(parameters) = parameters::to_json(&request.parameters) {
        document["parameters"] = parameters;
    }
    if !request.outputs.is_empty() {
        document["outputs"] = request.outputs.iter().map(output_json).collect();
    }
    Ok(document)
}

fn output_json(output: &RequestedOutput) -> Value {
    let mut document = json!({ "name": output.name });
    if let Some(parameters) = parameters::to_json(&output.parameters) {
        document["parameters"] = parameters;
    }
    document
}

fn read_input(input: &Value) -> Result<(InferTensor, Option<(Datatype, Data)>), String> {
    let members = input.as_object().ok_or("an input is not an object")?;
    known(members, "an input", &["name", "datatype", "shape", "parameters", "data"])?;
    let name = text(members, "name")?;
    let wrong = |reason: String| format!("input {name:?}: {reason}");
    let datatype: Datatype = text(members, "datatype")?.parse().map_err(wrong)?;
    let sizes: Option<Vec<usize>> =
        list(members, "shape")?.iter().map(|size| size.as_u64().and_then(|size| usize::try_from(size).ok())).collect();
    let sizes = sizes.ok_or_else(|| wrong("its shape is not a list of sizes".to_owned()))?;
    let shape = sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
    let data = match members.get("data") {
        Some(data) => {
            let data = data_of(datatype, data).map_err(wrong)?;
            Some((datatype, Tensor::new(name.clone(), Some(datatype), sizes, data)?.data))
        }
        None => None,
    };
    let parameters = parameters::from_json(members.get("parameters")).map_err(wrong)?;
    Ok((InferTensor { name: name.clone(), datatype: datatype.to_string(), shape, parameters, contents: None }, data))
}

/// Puts the values where their datatype belongs.
fn fill(request: &mut ModelInferRequest, values: Vec<Option<(Datatype, Data)>>) -> Result<(), String> {
    if !request.raw_input_contents.is_empty() {
        let fits = request.raw_input_contents.len() == values.len() && values.iter().all(Option::is_none);
        return if fits {
            Ok(())
        } else {
            Err("raw_input_contents needs one entry for each input, and no `data`".to_owned())
        };
    }
    let values: Option<Vec<_>> = values.into_iter().collect();
    let values = values.ok_or("an input has no `data`")?;
    if values.iter().any(|(datatype, _)| matches!(datatype, Datatype::Fp16 | Datatype::Bf16)) {
        for (datatype, data) in &values {
            request.raw_input_contents.push(encode(*datatype, data)?.into());
        }
        return Ok(());
    }
    for (tensor, (datatype, data)) in request.inputs.iter_mut().zip(values) {
        tensor.contents = Some(contents(datatype, data));
    }
    Ok(())
}

/// The data has been read as this datatype, so every value fits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the values were checked against the datatype's range"
)]
fn contents(datatype: Datatype, data: Data) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match (datatype, data) {
        (Datatype::Bool, Data::Ints(values)) => {
            contents.bool_contents = values.iter().map(|value| *value != 0).collect()
        }
        (Datatype::Int64, Data::Ints(values)) => {
            contents.int64_contents = values.iter().map(|value| *value as i64).collect()
        }
        (Datatype::Uint64, Data::Ints(values)) => {
            contents.uint64_contents = values.iter().map(|value| *value as u64).collect()
        }
        (Datatype::Int8 | Datatype::Int16 | Datatype::Int32, Data::Ints(values)) => {
            contents.int_contents = values.iter().map(|value| *value as i32).collect();
        }
        (_, Data::Ints(values)) => contents.uint_contents = values.iter().map(|value| *value as u32).collect(),
        (Datatype::Fp32, Data::Floats(values)) => {
            contents.fp32_contents = values.iter().map(|value| *value as f32).collect()
        }
        (_, Data::Floats(values)) => contents.fp64_contents = values,
        (_, Data::Bytes(values)) => contents.bytes_contents = values,
    }
    contents
}

fn raw_contents(list: &[Value]) -> Result<Vec<Bytes>, String> {
    let read = |entry: &Value| entry.as_str().and_then(|text| STANDARD.decode(text).ok()).map(Bytes::from);
    let all: Option<Vec<Bytes>> = list.iter().map(read).collect();
    all.ok_or_else(|| "raw_input_contents is not a list of base64 strings".to_owned())
}

fn known(members: &Map<String, Value>, whose: &str, keys: &[&str]) -> Result<(), String> {
    match members.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("{whose} has the unknown key {key:?}; known are {}", keys.join(", "))),
        None => Ok(()),
    }
}

fn text(members: &Map<String, Value>, key: &str) -> Result<String, String> {
    match members.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{key:?} is not a string")),
        None => Ok(String::new()),
    }
}

fn list<'v>(members: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], String> {
    match members.get(key) {
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{key:?} is not an array")),
        None => Ok(&[]),
    }
}
