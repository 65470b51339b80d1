//! What to expect of an answer that was seen: all that may be asked of the next model, then less, then next to nothing.

use serde_json::{Map, Value, json};

use super::{Recorded, Redaction};
use crate::checks::golden::{
    answer::Answer,
    expect::{DISTANCE_CHARS_MAX, vectors},
    grpc::{status_name, status_of},
    request::{Request, RequestKind},
    tensor::{Data, Datatype, Tensor},
    view::{View, completion},
};

/// From the strictest to the loosest; with values of the answer only if it may tell them.
pub(super) fn candidates(exchange: &Recorded, redaction: &Redaction, may_tell: bool) -> Vec<Value> {
    let view = View::new(&exchange.answer, exchange.request.kind);
    let status = status(&exchange.answer, exchange.request.kind);
    let with = |mut rest: Value| {
        if let (Value::Object(rest), Value::Object(status)) = (&mut rest, &status) {
            rest.extend(status.clone());
        }
        rest
    };
    let is_success =
        exchange.answer.status / 100 == 2 && status_of(&exchange.answer).is_none_or(|status| status.code == 0);
    if !is_success || exchange.answer.body.is_empty() {
        return vec![status];
    }
    let may_tell = may_tell && !is_redacted(&view, redaction);
    let values = may_tell.then(|| values(&view, exchange, redaction)).flatten();
    let kinds = kinds(&view, redaction);
    values.into_iter().chain(kinds).map(with).chain([status.clone()]).collect()
}

fn status(answer: &Answer, kind: RequestKind) -> Value {
    match (kind, status_of(answer)) {
        (RequestKind::Http, _) => json!({ "status": answer.status }),
        (_, Some(status)) => json!({ "grpc_status": status_name(status.code) }),
        (_, None) => json!({}),
    }
}

/// Something in the answer is named: then no value of it is written.
fn is_redacted(view: &View<'_>, redaction: &Redaction) -> bool {
    match view.json() {
        Ok(document) => redaction.redact(&mut document.clone()),
        Err(_) => !redaction.is_empty() && !view.is_stream(),
    }
}

fn values(view: &View<'_>, exchange: &Recorded, redaction: &Redaction) -> Option<Value> {
    if view.is_stream() {
        let mut expect = stream(view)?;
        if let Some(text) = stable_text(view, exchange, redaction) {
            expect["text"] = text;
        }
        return Some(expect);
    }
    let document = view.json().ok();
    let is_embeddings = document.and_then(|document| document.pointer("/data/0/embedding")).is_some();
    if is_embeddings && let Ok(rows) = vectors(view) {
        let size: usize = rows.iter().map(Vec::len).sum();
        return (size <= ELEMENTS_MAX).then(|| json!({ "embeddings": { "data": rows, "cosine": 0.999 } }));
    }
    if let Ok(tensors) = view.tensors() {
        return Some(json!({ "tensors": by_name(tensors, tensor_values) }));
    }
    if document.is_none_or(|document| completion(document).is_some()) {
        return stable_text(view, exchange, redaction).map(|text| json!({ "text": text }));
    }
    None
}

/// What kind of answer it is, without a value of it.
fn kinds(view: &View<'_>, redaction: &Redaction) -> Option<Value> {
    if view.is_stream() {
        return stream(view);
    }
    if let Ok(tensors) = view.tensors() {
        return Some(json!({ "tensors": by_name(tensors, tensor_kind) }));
    }
    let members = view.json().ok()?.as_object()?;
    let is_plain = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let plain = members.iter().filter(|(key, _)| is_plain(key) && !redaction.names(key)).take(MEMBERS_MAX);
    let paths: Map<String, Value> =
        plain.map(|(key, value)| (format!("$.{key}"), json!({ "type": type_of(value) }))).collect();
    (!paths.is_empty()).then(|| json!({ "json": paths }))
}

fn by_name(tensors: &[Tensor], write: fn(&Tensor) -> Value) -> Map<String, Value> {
    tensors.iter().map(|tensor| (tensor.name.clone(), write(tensor))).collect()
}

fn tensor_kind(tensor: &Tensor) -> Value {
    let mut check = json!({ "shape": tensor.shape });
    if let Some(datatype) = tensor.datatype {
        check["datatype"] = json!(datatype.as_str());
    }
    if tensor.data.not_finite().is_some() {
        check["finite"] = json!(false);
    }
    check
}

fn tensor_values(tensor: &Tensor) -> Value {
    let mut check = tensor_kind(tensor);
    if tensor.data.len() > ELEMENTS_MAX || tensor.data.not_finite().is_some() {
        return check;
    }
    let data = match &tensor.data {
        Data::Ints(values) => values
            .iter()
            .map(|value| {
                i64::try_from(*value).ok().map(Value::from).or_else(|| u64::try_from(*value).ok().map(Value::from))
            })
            .collect(),
        Data::Floats(values) => Some(values.iter().map(|value| json!(value)).collect()),
        Data::Bytes(values) => values.iter().map(|value| std::str::from_utf8(value).ok().map(Value::from)).collect(),
    };
    let Some::<Vec<Value>>(data) = data else { return check };
    if matches!(tensor.data, Data::Floats(_)) {
        let (rel, abs) = tolerance(tensor.datatype);
        (check["rel"], check["abs"]) = (json!(rel), json!(abs));
    }
    check["data"] = json!(data);
    check
}

/// What another machine may differ by; of the 16-bit types, less than a step of theirs makes no sense.
fn tolerance(datatype: Option<Datatype>) -> (f64, f64) {
    match datatype {
        Some(Datatype::Fp16) => (2e-3, 1e-4),
        Some(Datatype::Bf16) => (2e-2, 1e-3),
        _ => (1e-4, 1e-6),
    }
}

fn stream(view: &View<'_>) -> Option<Value> {
    let stream = view.stream().ok()?;
    let mut check = json!({ "complete": true });
    if stream.done {
        check["done"] = json!(true);
    }
    if stream.tokens > 0 {
        check["min_tokens"] = json!(1);
    }
    Some(json!({ "stream": check }))
}

/// The text, if the same request can be expected to get it again: it did so, or it asks for no chance.
fn stable_text(view: &View<'_>, exchange: &Recorded, redaction: &Redaction) -> Option<Value> {
    if ["content", "text", "text_output", "delta"].iter().any(|name| redaction.names(name)) {
        return None;
    }
    let text = view.text().ok()?;
    let is_stable = match &exchange.again {
        Some(again) => View::new(again, exchange.request.kind).text().is_ok_and(|again| again == text),
        None => asks_for_no_chance(&exchange.request),
    };
    let length = text.chars().count();
    let check = json!({ "edit_distance": { "to": text, "max_ratio": 0.1 } });
    (is_stable && (1..=DISTANCE_CHARS_MAX).contains(&length)).then_some(check)
}

/// Greedy decoding, in the words of the usual servers.
fn asks_for_no_chance(request: &Request) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return false };
    let number = |path: &str| body.pointer(path).and_then(Value::as_f64);
    number("/temperature") == Some(0.0)
        || number("/parameters/temperature") == Some(0.0)
        || number("/top_k") == Some(1.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// More would make a file that nobody reads.
const ELEMENTS_MAX: usize = 10_000;
const MEMBERS_MAX: usize = 32;
