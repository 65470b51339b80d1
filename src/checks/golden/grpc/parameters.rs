//! Parameters of a request or a tensor: JSON scalars to and from the five kinds of the protocol.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::messages::{InferParameter, ParameterChoice};

pub(super) type Parameters = BTreeMap<String, InferParameter>;

/// An absent or null member is no parameters.
pub(super) fn from_json(value: Option<&Value>) -> Result<Parameters, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Parameters::new()) };
    let members = value.as_object().ok_or("`parameters` is not an object")?;
    members
        .iter()
        .map(|(name, value)| Ok((name.clone(), InferParameter { choice: Some(choice(name, value)?) })))
        .collect()
}

fn choice(name: &str, value: &Value) -> Result<ParameterChoice, String> {
    match value {
        Value::Bool(truth) => Ok(ParameterChoice::Bool(*truth)),
        Value::String(text) => Ok(ParameterChoice::String(text.clone())),
        Value::Number(number) => number
            .as_i64()
            .map(ParameterChoice::Int64)
            .or_else(|| number.as_u64().map(ParameterChoice::Uint64))
            .or_else(|| number.as_f64().map(ParameterChoice::Double))
            .ok_or_else(|| format!("the parameter {name:?} is too large a number")),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("the parameter {name:?} is neither a string, a number, true nor false"))
        }
    }
}

/// `None` if there are none.
pub(super) fn to_json(parameters: &Parameters) -> Option<Value> {
    let value = |parameter: &InferParameter| match &parameter.choice {
        Some(ParameterChoice::Bool(truth)) => Value::from(*truth),
        Some(ParameterChoice::Int64(number)) => Value::from(*number),
        Some(ParameterChoice::Uint64(number)) => Value::from(*number),
        Some(ParameterChoice::Double(number)) => Value::from(*number),
        Some(ParameterChoice::String(text)) => Value::from(text.as_str()),
        None => Value::Null,
    };
    let members: Map<_, _> = parameters.iter().map(|(name, parameter)| (name.clone(), value(parameter))).collect();
    (!members.is_empty()).then_some(Value::Object(members))
}
