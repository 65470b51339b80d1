//! One line of a golden file: the request as it can be sent again, and the first expectation that its answers meet.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{Recorded, Redaction, expectation};
use crate::checks::golden::{
    file::Set,
    grpc::{body_message, decode_request},
    request::{Request, RequestKind},
    tensor::INFERENCE_HEADER,
};

/// In the order in which a person reads it.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    request: Box<RawValue>,
    expect: &'a Value,
}

/// A request as it is written, and whether something in its path or body was redacted: then it is another request.
type Written = (Box<RawValue>, bool);

/// Writes a line, or says why there is none.
pub(super) fn write(name: &str, exchange: &Recorded, redaction: &Redaction) -> Result<String, String> {
    let (request, is_another) = write_request(&exchange.request, redaction)?;
    let written = |expect: &Value| {
        let line = Line { name, request: request.clone(), expect };
        serde_json::to_string(&line).map_err(|error| format!("it cannot be written: {error}"))
    };
    let mut reason = "its answers differ even in kind".to_owned();
    // The values of an answer say something of what was asked, not of what will be; unless that was asked, too.
    let may_tell = !is_another || exchange.again.is_some();
    for expect in expectation::candidates(exchange, redaction, may_tell) {
        let line = written(&expect)?;
        match holds(&line, exchange) {
            Ok(true) => return Ok(line),
            Ok(false) => {}
            Err(problems) => reason = problems,
        }
    }
    Err(reason)
}

/// The request as a gate will read it.
pub(super) fn replayable(request: &Request, redaction: &Redaction) -> Result<Request, String> {
    let (request, _) = write_request(request, redaction)?;
    let line = Line { name: "recorded", request, expect: &json!({}) };
    let line = serde_json::to_string(&line).map_err(|error| format!("it cannot be written: {error}"))?;
    let set = Set::parse(&line, "recorded").map_err(|problems| problems.lines().join("; "))?;
    set.cases().first().map(|case| case.request().clone()).ok_or_else(|| "it cannot be written".to_owned())
}

fn write_request(request: &Request, redaction: &Redaction) -> Result<Written, String> {
    match request.kind {
        RequestKind::Http => http_request(request, redaction),
        RequestKind::Grpc | RequestKind::Infer | RequestKind::InferStream => grpc_request(request, redaction),
    }
}

/// Reads the line as a gate will, and judges the answers that it was made from.
///
/// # Errors
/// It is no right line: a value of the answer is too long or too odd to be expected.
fn holds(line: &str, exchange: &Recorded) -> Result<bool, String> {
    let set = Set::parse(line, "recorded").map_err(|problems| problems.lines().join("; "))?;
    let mut answers = std::iter::once(&exchange.answer).chain(&exchange.again);
    Ok(set.cases().iter().all(|case| answers.all(|answer| case.judge(answer).passed())))
}

/// The body last, since it may be long.
#[derive(Default, Serialize)]
struct HttpLine {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

fn http_request(request: &Request, redaction: &Redaction) -> Result<Written, String> {
    let mut line = HttpLine {
        method: request.method.to_string(),
        path: redaction.path(&request.path),
        headers: headers(request, redaction)?,
        ..HttpLine::default()
    };
    let is_another = write_body(&mut line, request, redaction)? | (line.path != request.path.as_str());
    Ok((raw(&line)?, is_another))
}

/// JSON as it was sent, as far as nothing in it is redacted; says whether something was.
fn write_body(line: &mut HttpLine, request: &Request, redaction: &Redaction) -> Result<bool, String> {
    if request.body.is_empty() {
        return Ok(false);
    }
    let has_tensors = request.headers.contains_key(INFERENCE_HEADER);
    let text = std::str::from_utf8(&request.body).ok();
    if let Some(text) = text.filter(|_| !has_tensors)
        && let Ok(mut value) = serde_json::from_str::<Value>(text)
    {
        // Inside a JSON string there is no line end, so that one can become a space without a change of meaning.
        let same = || RawValue::from_string(text.trim().replace(['\n', '\r'], " ")).map_err(|error| error.to_string());
        let is_another = redaction.redact(&mut value);
        line.json = Some(if is_another { raw(&value)? } else { same()? });
        return Ok(is_another);
    }
    if !redaction.is_empty() {
        return Err("its body is not JSON, and cannot be looked through for what is to be redacted".to_owned());
    }
    match text {
        Some(text) => line.text = Some(text.to_owned()),
        None => line.base64 = Some(STANDARD.encode(&request.body)),
    }
    Ok(false)
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(value).map_err(|error| format!("it cannot be written: {error}"))
}

fn grpc_request(request: &Request, redaction: &Redaction) -> Result<Written, String> {
    let message = body_message(&request.body)?;
    let decoded = if request.kind.is_inference() { decode_request(message).ok() } else { None };
    let mut call = json!({ "method": request.path.path() });
    let mut is_another = false;
    match decoded {
        Some(mut decoded) => {
            is_another = redaction.redact(&mut decoded);
            call["message"] = decoded;
        }
        None if redaction.is_empty() => call["base64"] = json!(STANDARD.encode(message)),
        None => return Err("its message cannot be looked through for what is to be redacted".to_owned()),
    }
    let metadata = headers(request, redaction)?;
    if !metadata.is_empty() {
        call["metadata"] = Value::Object(metadata);
    }
    Ok((raw(&json!({ "grpc": call }))?, is_another))
}

fn headers(request: &Request, redaction: &Redaction) -> Result<Map<String, Value>, String> {
    let mut kept = Map::new();
    for name in redaction.headers(&request.headers) {
        if request.is_grpc() && name == CONTENT_TYPE {
            continue;
        }
        let values = request.headers.get_all(name).iter().map(|value| value.to_str().map(|text| json!(text)));
        let mut values: Vec<Value> =
            values.collect::<Result<_, _>>().map_err(|_opaque| format!("its header {name} is not visible ASCII"))?;
        let value = if values.len() == 1 { values.swap_remove(0) } else { Value::Array(values) };
        kept.insert(name.as_str().to_owned(), value);
    }
    Ok(kept)
}
