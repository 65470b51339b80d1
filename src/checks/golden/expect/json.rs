//! Values of a JSON answer by path: exact or near, in a range, of a type, of a length, present or not.

use serde_json::Value;

use super::{
    Failure, Node, Reader, View,
    path::Path,
    tolerance::{Range, Tolerance},
};
use crate::checks::golden::evidence;

/// What every value that the path leads to must be like.
#[derive(Clone, Debug)]
pub(super) struct Json {
    path: Path,
    equals: Option<Value>,
    tolerance: Tolerance,
    range: Option<Range>,
    kind: Option<&'static str>,
    length: Option<Range>,
    present: bool,
}

/// An object of paths; a value that is no object is what must be there.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Vec<Json> {
    let Some(fields) = reader.map(node) else { return Vec::new() };
    fields.iter().filter_map(|field| Json::read(reader, &field.key, &field.value)).collect()
}

impl Json {
    fn read<'t>(reader: &mut Reader<'t>, path: &str, node: &Node<'t>) -> Option<Self> {
        let path = Path::parse(reader, node, path)?;
        let mut json = Self {
            path,
            equals: None,
            tolerance: Tolerance::default(),
            range: None,
            kind: None,
            length: None,
            present: true,
        };
        if !node.is_object() {
            json.equals = Some(reader.value(node)?);
            return Some(json);
        }
        let fields = reader.object(node, &["equals", "abs", "rel", "range", "type", "length", "present"])?;
        for field in fields.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "equals" => json.equals = reader.value(value),
                "abs" => json.tolerance.read_abs(reader, value),
                "rel" => json.tolerance.read_rel(reader, value),
                "range" => json.range = Range::read(reader, value),
                "type" => json.kind = read_kind(reader, value),
                "length" => json.length = read_length(reader, value),
                "present" => json.present = reader.flag(value).unwrap_or(true),
                _ => {}
            }
        }
        if json.equals.is_none() && (fields.find("abs").is_some() || fields.find("rel").is_some()) {
            reader.refuse(node, "a tolerance without `equals`", "write {\"equals\": 0.5, \"abs\": 0.01}");
        }
        Some(json)
    }

    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        let key = |check: &str| format!("json.{:?}{check}", self.path.to_string());
        let found = match view.json().and_then(|document| self.path.find(document)) {
            Ok(found) => found,
            Err(reason) => return failures.push(Failure::new(key(""), "a JSON answer", reason)),
        };
        match (self.present, found.first()) {
            (true, None) => failures.push(Failure::new(key(""), "a value", "nothing there")),
            (false, Some((place, value))) => {
                failures.push(Failure::new(key(".present"), "nothing there", evidence::json(value)).at(place));
            }
            (false, None) => {}
            (true, Some(_)) => {
                let faults = found.iter().flat_map(|(place, value)| self.faults(place, value));
                let named =
                    faults.take(FAULTS_MAX).map(|fault| Failure { expectation: key(&fault.expectation), ..fault });
                failures.extend(named);
            }
        }
    }

    /// What is wrong with one value; `expectation` is only the last part of its key.
    fn faults(&self, place: &str, value: &Value) -> Vec<Failure> {
        let mut faults = Vec::new();
        let wrong = |check: &str, expected: String| Failure::new(check, expected, evidence::json(value)).at(place);
        if let Some(equals) = &self.equals {
            compare(equals, value, self.tolerance, place, &mut faults);
        }
        if let Some(kind) = self.kind.filter(|kind| !is_kind(kind, value)) {
            faults.push(wrong(".type", kind.to_owned()));
        }
        if let Some(range) = self.range.filter(|range| !value.as_f64().is_some_and(|number| range.holds(number))) {
            faults.push(wrong(".range", range.to_string()));
        }
        if let Some(length) = self.length {
            match length_of(value) {
                Some(found) if length.holds(found) => {}
                Some(found) => faults.push(Failure::new(".length", length.to_string(), found.to_string()).at(place)),
                None => faults.push(wrong(".length", "a string, an array or an object".to_owned())),
            }
        }
        faults
    }
}

/// Notes where two values differ; the depth is bounded by the JSON reader.
fn compare(expected: &Value, found: &Value, tolerance: Tolerance, place: &str, faults: &mut Vec<Failure>) {
    if faults.len() >= FAULTS_MAX || is_near(expected, found, tolerance) {
        return;
    }
    match (expected, found) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(left, right, tolerance, &format!("{place}[{index}]"), faults);
            }
        }
        (Value::Object(left), Value::Object(right))
            if left.len() == right.len() && left.keys().all(|key| right.contains_key(key)) =>
        {
            for (key, left) in left {
                compare(left, right.get(key).unwrap_or(&Value::Null), tolerance, &format!("{place}[{key:?}]"), faults);
            }
        }
        _ => {
            let near = if expected.is_number() { tolerance.to_string() } else { String::new() };
            let wanted = format!("{}{near}", evidence::json(expected));
            faults.push(Failure::new("", wanted, evidence::json(found)).at(place));
        }
    }
}

/// Whether two scalars (or two equal values) need no closer look.
fn is_near(expected: &Value, found: &Value, tolerance: Tolerance) -> bool {
    let (Value::Number(left), Value::Number(right)) = (expected, found) else { return expected == found };
    if left == right {
        return true;
    }
    let both_whole = !left.is_f64() && !right.is_f64();
    let numbers = left.as_f64().zip(right.as_f64());
    // Two whole numbers above 2^53 may be one double, and still differ.
    !(both_whole && tolerance.is_exact()) && numbers.is_some_and(|(left, right)| tolerance.allows(left, right))
}

#[expect(clippy::cast_precision_loss, reason = "no answer has 2^53 elements")]
fn length_of(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(items) => Some(items.len() as f64),
        Value::Object(members) => Some(members.len() as f64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn is_kind(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

fn read_kind<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<&'static str> {
    let text = reader.string(node)?;
    let kind = KINDS.into_iter().find(|kind| *kind == text);
    if kind.is_none() {
        reader.refuse(node, format!("{text:?} is no type"), format!("write one of {}", KINDS.join(", ")));
    }
    kind
}

/// A number, or a range of them.
fn read_length<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Range> {
    if node.is_array() {
        return Range::read(reader, node);
    }
    let length = reader.whole(node, 0, u64::from(u32::MAX))?;
    u32::try_from(length).ok().map(|length| Range::exactly(f64::from(length)))
}

const KINDS: [&str; 7] = ["null", "bool", "integer", "number", "string", "array", "object"];
const FAULTS_MAX: usize = 5;
