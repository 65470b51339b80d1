//! What a request carries: JSON as it is written, a text, bytes in base64, a gRPC message.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::uri::PathAndQuery;

use super::read::BODIES;
use crate::checks::golden::{
    fields::Fields,
    grpc::{INFER_PATH, STREAM_INFER_PATH, encode_request},
    reader::{Node, Reader},
};

/// A body with the content type that goes with it, unless the headers name another.
pub(super) type Body = (Option<&'static str>, Bytes);

/// At most one of the three ways to write a body.
pub(super) fn read_body<'t>(reader: &mut Reader<'t>, node: &Node<'t>, fields: &Fields<'t>) -> Option<Body> {
    let mut given = BODIES.iter().filter_map(|key| fields.find(key).map(|value| (*key, value)));
    let Some((key, value)) = given.next() else { return Some((None, Bytes::new())) };
    if given.next().is_some() {
        reader.refuse(node, "more than one body", format!("keep one of {}", BODIES.join(", ")));
        return None;
    }
    match key {
        // Not read and written again: the order of keys and the digits of numbers stay as they are.
        "json" => reader.value(value).map(|_| (Some("application/json"), Bytes::copy_from_slice(value.raw.as_bytes()))),
        "text" => reader.string(value).map(|text| (Some("text/plain; charset=utf-8"), text.into())),
        _ => base64(reader, value).map(|bytes| (Some("application/octet-stream"), bytes)),
    }
}

/// A gRPC message: JSON of `ModelInfer` and `ModelStreamInfer`, or the bytes of any.
pub(super) fn message<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'t>,
    fields: &Fields<'t>,
    method: &PathAndQuery,
) -> Option<Bytes> {
    match (fields.find("message"), fields.find("base64")) {
        (None, Some(bytes)) => base64(reader, bytes),
        (Some(message), None) if [INFER_PATH, STREAM_INFER_PATH].contains(&method.path()) => {
            let value = reader.value(message)?;
            let hint =
                "write it as the HTTP protocol has it: model_name, and inputs with name, datatype, shape and data";
            reader.accept(message, encode_request(&value), hint)
        }
        (Some(message), None) => {
            let hint = "give the message of another method in `base64`, without its five bytes of framing";
            reader.refuse(message, format!("only {INFER_PATH} and {STREAM_INFER_PATH} are understood in JSON"), hint);
            None
        }
        _ => {
            reader.refuse(node, "neither `message` nor `base64` alone", "write one of them");
            None
        }
    }
}

fn base64<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Bytes> {
    let text = reader.string(node)?;
    let decoded = STANDARD.decode(&text).map_err(|error| format!("not base64: {error}"));
    reader
        .accept(node, decoded, "write it in the standard alphabet with padding, as `base64 -w0` does")
        .map(Bytes::from)
}
