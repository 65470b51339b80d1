//! Values as they stand in evidence: short, and on one line.

use std::time::Duration;

use serde_json::Value;

/// A text of an answer, quoted and cut.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let more =
        if shown.len() < text.len() { format!("… ({} characters)", text.chars().count()) } else { String::new() };
    format!("{shown:?}{more}")
}

/// A JSON value, cut.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) if items.len() > 16 => format!("an array of {}", items.len()),
        other => cut(&other.to_string()),
    }
}

pub(in crate::checks) fn cut(text: &str) -> String {
    let shown: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
        .to_string()
}

/// A number as a person writes it: 200 and 0.5, but 1e300.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-5..1e15).contains(&size) { number.to_string() } else { format!("{number:e}") }
}

/// Without control characters, so that an answer cannot write lines of its own into a report.
pub(in crate::checks) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const TEXT_CHARS_MAX: usize = 120;
