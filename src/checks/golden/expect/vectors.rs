//! Embeddings wherever a server puts them: OpenAI's `data[].embedding`, `embeddings`, outputs of V2, plain arrays.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::View;

/// The vectors of an answer, in the order of the inputs.
pub(in crate::checks::golden) fn vectors(view: &View<'_>) -> Result<Vec<Vec<f64>>, String> {
    if let Ok(document) = view.json() {
        if let Some(items) = document.get("data").and_then(Value::as_array) {
            return openai(items);
        }
        for key in ["embeddings", "embedding"] {
            if let Some(value) = document.get(key) {
                return plain(value);
            }
        }
        if document.is_array() {
            return plain(document);
        }
    }
    outputs(view)
}

/// A vector, or a list of vectors.
pub(super) fn plain(value: &Value) -> Result<Vec<Vec<f64>>, String> {
    let items = value.as_array().ok_or("no vectors: the value is not an array")?;
    if items.iter().all(Value::is_number) {
        return Ok(vec![vector(value)?]);
    }
    items.iter().map(vector).collect()
}

/// By `index`, since nobody promises their order; floats, or base64 of FP32 as OpenAI's own client asks for.
fn openai(items: &[Value]) -> Result<Vec<Vec<f64>>, String> {
    let mut found = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let index = item.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
        let embedding = item.get("embedding").ok_or_else(|| format!("data[{position}] has no `embedding`"))?;
        found.push((index, vector(embedding)?));
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, vector)| vector).collect())
}

fn vector(value: &Value) -> Result<Vec<f64>, String> {
    match value {
        Value::String(text) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("an embedding that is not base64: {error}"))?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            let whole =
                rest.is_empty().then(|| numbers.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect());
            whole.ok_or_else(|| format!("an embedding of {} bytes, which are no FP32 numbers", bytes.len()))
        }
        Value::Array(items) => {
            let numbers: Option<Vec<f64>> = items.iter().map(Value::as_f64).collect();
            numbers.ok_or_else(|| "a vector with something else than numbers in it".to_owned())
        }
        _ => Err("no vector: neither an array nor base64".to_owned()),
    }
}

/// The only output that has floating point numbers, by rows.
fn outputs(view: &View<'_>) -> Result<Vec<Vec<f64>>, String> {
    let tensors = view.tensors()?;
    let mut floats = tensors.iter().filter(|tensor| matches!(tensor.data, super::super::tensor::Data::Floats(_)));
    let (Some(tensor), None) = (floats.next(), floats.next()) else {
        return Err("not exactly one output of floating point numbers; name it under `tensors` instead".to_owned());
    };
    let length = tensor.row_length().max(1);
    Ok(tensor.data.numbers().unwrap_or_default().chunks(length).map(<[f64]>::to_vec).collect())
}
