//! The Open Inference Protocol V2 as JSON, as far as an iris classifier needs it: requests in, answers out.
//!
//! Pure: bytes in, values out. Hostile bytes become a [`BadRequest`] whose text the caller may read.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::classifier::{Classification, Features, SPECIES, Version};

/// The name the servers give what they serve.
pub(super) const NAME: &str = "iris";

/// Flowers in one request.
const FLOWERS_MAX: usize = 1000;

/// No flower is a kilometre long; the bound keeps every sum finite.
const CENTIMETRES_MAX: f64 = 100_000.0;

/// Why an inference request was not understood. The text is the answer's `error`.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the body is not an inference request in JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("there must be one input, of the name \"features\" (got {0} inputs)")]
    Inputs(usize),
    #[error("the input must be \"features\" (got {0:?})")]
    Name(String),
    #[error("the datatype must be FP32 or FP64 (got {0:?})")]
    Datatype(String),
    #[error("the shape must be [n, 4] with n from 1 to {FLOWERS_MAX} (got {0:?})")]
    Shape(Vec<u64>),
    #[error("the shape asks for {wanted} values (got {got})")]
    Count { wanted: usize, got: usize },
    #[error("each value must be a number of centimetres from -{CENTIMETRES_MAX} to {CENTIMETRES_MAX} (got {0})")]
    Number(String),
}

/// A request that was understood.
#[derive(Debug, PartialEq)]
pub(super) struct Inference {
    /// The caller's name for it, given back in the answer.
    pub(super) id: Option<String>,
    /// At least one.
    pub(super) flowers: Vec<Features>,
}

/// Reads the body of `POST /v2/models/iris/infer`. The values may be flat or nested, as the protocol allows.
pub(super) fn parse_inference(body: &[u8]) -> Result<Inference, BadRequest> {
    let request: RawRequest = serde_json::from_slice(body)?;
    let [input] = request.inputs.as_slice() else { return Err(BadRequest::Inputs(request.inputs.len())) };
    if input.name != "features" {
        return Err(BadRequest::Name(clip(&input.name)));
    }
    if !matches!(input.datatype.as_str(), "FP32" | "FP64") {
        return Err(BadRequest::Datatype(clip(&input.datatype)));
    }
    let count =
        flowers_in(&input.shape).ok_or_else(|| BadRequest::Shape(input.shape.iter().copied().take(8).collect()))?;
    let mut values = Vec::with_capacity(count * 4);
    flatten(&input.data, &mut values)?;
    if values.len() != count * 4 {
        return Err(BadRequest::Count { wanted: count * 4, got: values.len() });
    }
    let flowers = values.as_chunks::<4>().0.to_vec();
    Ok(Inference { id: request.id, flowers })
}

fn flowers_in(shape: &[u64]) -> Option<usize> {
    let [count, 4] = *shape else { return None };
    usize::try_from(count).ok().filter(|count| (1..=FLOWERS_MAX).contains(count))
}

/// The depth is bounded by the JSON parser's own limit on nesting.
fn flatten(data: &Value, into: &mut Vec<f64>) -> Result<(), BadRequest> {
    if let Value::Array(items) = data {
        return items.iter().try_for_each(|item| flatten(item, into));
    }
    let number = data.as_f64().filter(|number| number.abs() <= CENTIMETRES_MAX);
    into.push(number.ok_or_else(|| BadRequest::Number(clip(&data.to_string())))?);
    Ok(())
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The body of a request for these flowers, as the load and the printed examples send it.
pub(super) fn inference_body(flowers: &[Features]) -> Value {
    let data: Vec<f64> = flowers.iter().flatten().copied().collect();
    json!({ "inputs": [{ "name": "features", "shape": [flowers.len(), 4], "datatype": "FP64", "data": data }] })
}

/// The answer to an inference: one label and three probabilities for each flower.
pub(super) fn inference_answer(version: Version, id: Option<&str>, said: &[Classification]) -> Value {
    let labels: Vec<usize> = said.iter().map(|one| one.label).collect();
    let probabilities: Vec<f64> = said.iter().flat_map(|one| one.probabilities).collect();
    let mut answer = json!({
        "model_name": NAME,
        "model_version": version,
        "outputs": [
            { "name": "label", "shape": [said.len()], "datatype": "INT64", "data": labels },
            { "name": "probabilities", "shape": [said.len(), 3], "datatype": "FP64", "data": probabilities },
        ],
    });
    if let Some(id) = id {
        answer["id"] = json!(id);
    }
    answer
}

/// `GET /v2`.
pub(super) fn server_metadata() -> Value {
    json!({ "name": "verdigris-demo", "version": env!("CARGO_PKG_VERSION"), "extensions": [] })
}

/// `GET /v2/models/iris`.
pub(super) fn metadata(version: Version) -> Value {
    json!({
        "name": NAME,
        "versions": [version],
        "platform": "verdigris-demo",
        "inputs": [{ "name": "features", "datatype": "FP64", "shape": [-1, 4] }],
        "outputs": [
            { "name": "label", "datatype": "INT64", "shape": [-1] },
            { "name": "probabilities", "datatype": "FP64", "shape": [-1, 3] },
        ],
        "parameters": { "labels": SPECIES },
    })
}

/// One event of the token stream: its place in the answer shows a client that none is missing.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) model_name: String,
    pub(super) model_version: String,
    /// Counts from 0 without a gap.
    pub(super) index: usize,
    pub(super) text_output: String,
}

/// What the load reads of an inference's answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) model_version: String,
    pub(super) outputs: Vec<Output>,
}

/// One output of an [`Answer`].
#[derive(Debug, Deserialize)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) data: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct RawRequest {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<RawInput>,
}

#[derive(Debug, Deserialize)]
struct RawInput {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    data: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(shape: &str, datatype: &str, data: &str) -> String {
        format!(
            r#"{{"id":"7","inputs":[{{"name":"features","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#
        )
    }

    #[test]
    fn flat_and_nested_values_are_the_same() {
        let flat = parse_inference(request("[2,4]", "FP32", "[1,2,3,4,5,6,7,8]").as_bytes()).unwrap();
        let nested = parse_inference(request("[2,4]", "FP64", "[[1,2,3,4],[5,6,7,8]]").as_bytes()).unwrap();
        assert_eq!(flat, nested);
        assert_eq!(flat.flowers, [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]);
        assert_eq!(flat.id.as_deref(), Some("7"));
    }

    #[test]
    fn a_written_request_is_read_back() {
        let flowers = [[5.1, 3.5, 1.4, 0.2]];
        let body = inference_body(&flowers).to_string();
        assert_eq!(parse_inference(body.as_bytes()).unwrap().flowers, flowers);
    }

    #[test]
    fn bad_requests_say_what_is_wrong() {
        let bad = [
            ("{".to_owned(), "not an inference request"),
            (r#"{"inputs":[]}"#.to_owned(), "one input"),
            (request("[1,4]", "BYTES", "[1,2,3,4]"), "datatype"),
            (request("[4]", "FP32", "[1,2,3,4]"), "shape"),
            (request("[0,4]", "FP32", "[]"), "shape"),
            (request("[18446744073709551615,4]", "FP32", "[]"), "shape"),
            (request("[1,4]", "FP32", "[1,2,3]"), "4 values"),
            (request("[1,4]", "FP32", "[1,2,3,1e99]"), "centimetres"),
            (request("[1,4]", "FP32", r#"[1,2,3,"x"]"#), "centimetres"),
            (request("[1,4]", "FP32", "[1,2,3,4]").replace("features", "petals"), "petals"),
        ];
        for (body, says) in bad {
            let error = parse_inference(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }
}
