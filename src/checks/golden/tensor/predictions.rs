//! Answers of TF-Serving's REST API: `predictions` (by rows) and `outputs` (by columns).

use serde_json::{Map, Value};

use super::{Data, Tensor, scalars_of};

/// The tensors of a TF-Serving answer. One without a name of its own is called `predictions`.
pub(in crate::checks::golden) fn predictions(document: &Value) -> Result<Vec<Tensor>, String> {
    match (document.get("predictions"), document.get("outputs")) {
        (Some(rows), _) => rows_of(rows),
        (None, Some(Value::Object(columns))) => columns.iter().map(|(name, value)| tensor(name, value)).collect(),
        (None, Some(column)) => Ok(vec![tensor(UNNAMED, column)?]),
        (None, None) => Err("there is neither `predictions` nor `outputs`".to_owned()),
    }
}

/// A list of values, or a list of objects with a value for each named output.
fn rows_of(rows: &Value) -> Result<Vec<Tensor>, String> {
    let named: Option<Vec<&Map<String, Value>>> =
        rows.as_array().filter(|rows| !rows.is_empty()).and_then(|rows| rows.iter().map(Value::as_object).collect());
    let Some(named) = named.filter(|rows| !rows[0].contains_key("b64")) else {
        return Ok(vec![tensor(UNNAMED, rows)?]);
    };
    let column = |name: &String| {
        let missing = |row: usize| format!("tensor {name:?}: it is missing in predictions[{row}]");
        let cells = named.iter().enumerate().map(|(index, row)| row.get(name).cloned().ok_or_else(|| missing(index)));
        tensor(name, &Value::Array(cells.collect::<Result<_, String>>()?))
    };
    named[0].keys().map(column).collect()
}

fn tensor(name: &str, value: &Value) -> Result<Tensor, String> {
    let mut shape = Vec::new();
    measure(value, &mut shape);
    if !is_even(value, &shape) {
        return Err(format!("tensor {name:?}: its rows are not all of one length"));
    }
    let data = if shape.contains(&0) {
        Data::Floats(Vec::new())
    } else {
        scalars_of(value).map_err(|reason| format!("tensor {name:?}: {reason}"))?
    };
    Tensor::new(name.to_owned(), None, shape, data)
}

/// The shape by the first element of each level.
fn measure(value: &Value, shape: &mut Vec<usize>) {
    if let Some(items) = value.as_array() {
        shape.push(items.len());
        items.first().into_iter().for_each(|first| measure(first, shape));
    }
}

fn is_even(value: &Value, shape: &[usize]) -> bool {
    match (value.as_array(), shape) {
        (Some(items), [size, rest @ ..]) => items.len() == *size && items.iter().all(|item| is_even(item, rest)),
        (None, []) => true,
        _ => false,
    }
}

const UNNAMED: &str = "predictions";
