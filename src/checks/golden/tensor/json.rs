//! Elements written in JSON, flat or nested.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Data, Datatype};

/// The elements of a nested array in order. The depth is bounded by the JSON reader.
fn flatten<'v>(value: &'v Value, into: &mut Vec<&'v Value>) {
    match value.as_array() {
        Some(items) => items.iter().for_each(|item| flatten(item, into)),
        None => into.push(value),
    }
}

/// Reads elements of a known datatype.
pub(in crate::checks::golden) fn data_of(datatype: Datatype, value: &Value) -> Result<Data, String> {
    let mut scalars = Vec::new();
    flatten(value, &mut scalars);
    let wrong = |scalar: &Value| format!("{} is not {datatype}", clip(scalar));
    if datatype == Datatype::Bytes {
        return Ok(Data::Bytes(
            scalars.into_iter().map(|scalar| bytes(scalar).ok_or_else(|| wrong(scalar))).collect::<Result<_, _>>()?,
        ));
    }
    if datatype.is_float() {
        let read = |scalar: &&Value| scalar.as_f64().ok_or_else(|| wrong(scalar));
        return Ok(Data::Floats(scalars.iter().map(read).collect::<Result<_, _>>()?));
    }
    let fits = |number: &i128| datatype.range().is_some_and(|(low, high)| (low..=high).contains(number));
    let read = |scalar: &&Value| whole(scalar).filter(fits).ok_or_else(|| wrong(scalar));
    Ok(Data::Ints(scalars.iter().map(read).collect::<Result<_, _>>()?))
}

/// Reads elements whose datatype nobody says: all whole numbers, all numbers, or all strings.
pub(in crate::checks::golden) fn scalars_of(value: &Value) -> Result<Data, String> {
    let mut scalars = Vec::new();
    flatten(value, &mut scalars);
    if let Some(values) = scalars.iter().map(|scalar| whole(scalar)).collect() {
        return Ok(Data::Ints(values));
    }
    if let Some(values) = scalars.iter().map(|scalar| scalar.as_f64()).collect() {
        return Ok(Data::Floats(values));
    }
    if let Some(values) = scalars.iter().map(|scalar| bytes(scalar)).collect() {
        return Ok(Data::Bytes(values));
    }
    let odd = scalars.iter().find(|scalar| !scalar.is_number()).map_or_else(String::new, |scalar| clip(scalar));
    Err(format!("neither numbers alone nor strings alone: there is {odd}"))
}

fn whole(scalar: &Value) -> Option<i128> {
    match scalar {
        Value::Bool(truth) => Some(i128::from(*truth)),
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        _ => None,
    }
}

/// A string, or TF-Serving's `{"b64": "…"}`.
fn bytes(scalar: &Value) -> Option<Vec<u8>> {
    match scalar {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(members) if members.len() == 1 => STANDARD.decode(members.get("b64")?.as_str()?).ok(),
        _ => None,
    }
}

fn clip(value: &Value) -> String {
    let text = match value {
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    text.chars().take(60).collect()
}
