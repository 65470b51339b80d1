//! Answers of the Open Inference Protocol over HTTP: JSON, and JSON with binary tensors behind it.

use http::HeaderMap;
use serde_json::Value;

use super::{Data, Datatype, Tensor, data_of, decode, elements};

/// Says how many bytes of the body are JSON; the rest is binary tensors.
pub(in crate::checks::golden) const INFERENCE_HEADER: &str = "inference-header-content-length";

/// The JSON and the binary part of a body.
pub(in crate::checks::golden) fn split<'b>(
    headers: &HeaderMap,
    body: &'b [u8],
) -> Result<(&'b [u8], &'b [u8]), String> {
    let Some(value) = headers.get(INFERENCE_HEADER) else { return Ok((body, &[])) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| format!("{INFERENCE_HEADER}: {value:?} is not a length"))?;
    body.split_at_checked(length)
        .ok_or_else(|| format!("{INFERENCE_HEADER}: says {length} bytes, the body has {}", body.len()))
}

/// The tensors of the `outputs` array; `binary` is what stands behind the JSON.
pub(in crate::checks::golden) fn outputs(document: &Value, mut binary: &[u8]) -> Result<Vec<Tensor>, String> {
    let list = document.get("outputs").and_then(Value::as_array).ok_or("there is no array `outputs`")?;
    let mut tensors = Vec::with_capacity(list.len());
    for (index, output) in list.iter().enumerate() {
        tensors.push(tensor(output, index, &mut binary)?);
    }
    if !binary.is_empty() {
        return Err(format!("{} bytes of binary data belong to no output", binary.len()));
    }
    Ok(tensors)
}

fn tensor(output: &Value, index: usize, binary: &mut &[u8]) -> Result<Tensor, String> {
    let name = output.get("name").and_then(Value::as_str).ok_or_else(|| format!("outputs[{index}] has no name"))?;
    let wrong = |reason: String| format!("tensor {name:?}: {reason}");
    let datatype =
        output.get("datatype").and_then(Value::as_str).ok_or_else(|| wrong("it has no datatype".to_owned()))?;
    let datatype: Datatype = datatype.parse().map_err(wrong)?;
    let shape = shape(output.get("shape")).ok_or_else(|| wrong("its shape is not a list of sizes".to_owned()))?;
    let size = output.get("parameters").and_then(|parameters| parameters.get("binary_data_size"));
    let data = match (size, output.get("data")) {
        (Some(size), _) => binary_data(datatype, &shape, size, binary).map_err(wrong)?,
        (None, Some(data)) => data_of(datatype, data).map_err(wrong)?,
        (None, None) => return Err(wrong("it has neither `data` nor `parameters.binary_data_size`".to_owned())),
    };
    Tensor::new(name.to_owned(), Some(datatype), shape, data)
}

fn shape(value: Option<&Value>) -> Option<Vec<usize>> {
    value?.as_array()?.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect()
}

fn binary_data(datatype: Datatype, shape: &[usize], size: &Value, binary: &mut &[u8]) -> Result<Data, String> {
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).ok_or("binary_data_size is not a length")?;
    let (own, rest) = binary
        .split_at_checked(size)
        .ok_or_else(|| format!("binary_data_size says {size} bytes, {} are left", binary.len()))?;
    if let Some(width) = datatype.width()
        && elements(shape).and_then(|count| count.checked_mul(width)) != Some(size)
    {
        return Err(format!("binary_data_size says {size} bytes, which is not {shape:?} of {datatype}"));
    }
    *binary = rest;
    decode(datatype, own)
}
