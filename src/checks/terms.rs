//! What a server says of a model: metadata of the Open Inference Protocol V2, or the list of an OpenAI-style server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Deserialize;
use serde_json::Value;

use super::golden::{Answer, AnswerEnd, ModelMetadata, TensorMetadata};

/// What clients may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// `/v2/models/NAME`.
    Tensors { inputs: Tensors, outputs: Tensors },
    /// `/v1/models`.
    Ids(BTreeSet<String>),
}

type Tensors = BTreeMap<String, Tensor>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    datatype: String,
    /// -1 is any size.
    shape: Vec<i64>,
}

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("no address to ask")]
    NoAddress,
    #[error("answered {0}")]
    Grpc(String),
    #[error("{0}")]
    Silent(String),
    #[error("answered {0}")]
    Status(u16),
    #[error("the answer did not end well")]
    Incomplete,
    #[error("answered 200, but not with a model's inputs and outputs, or a list of models")]
    Strange,
}

/// As it is on the wire, of either kind. Servers give sizes as numbers or as texts.
#[derive(Deserialize)]
struct Wire {
    inputs: Option<Vec<WireTensor>>,
    outputs: Option<Vec<WireTensor>>,
    data: Option<Vec<WireModel>>,
}

#[derive(Deserialize)]
struct WireTensor {
    name: String,
    #[serde(default)]
    datatype: String,
    #[serde(default)]
    shape: Vec<Value>,
}

#[derive(Deserialize)]
struct WireModel {
    id: String,
}

impl Terms {
    /// Understands an answer.
    pub(super) fn read(answer: &Answer) -> Result<Self, Unread> {
        if answer.status != 200 {
            return Err(Unread::Status(answer.status));
        }
        if answer.end != AnswerEnd::Complete {
            return Err(Unread::Incomplete);
        }
        let wire: Wire = serde_json::from_slice(&answer.body).map_err(|_other| Unread::Strange)?;
        match (wire.inputs, wire.outputs, wire.data) {
            (None, None, Some(models)) => Ok(Self::Ids(models.into_iter().map(|model| model.id).collect())),
            (None, None, None) => Err(Unread::Strange),
            (inputs, outputs, _) => Ok(Self::Tensors {
                inputs: tensors(inputs.unwrap_or_default()),
                outputs: tensors(outputs.unwrap_or_default()),
            }),
        }
    }

    /// Understands an answer to `ModelMetadata`.
    pub(super) fn read_grpc(answer: &Answer) -> Result<Self, Unread> {
        if answer.end != AnswerEnd::Complete {
            return Err(Unread::Incomplete);
        }
        let metadata = ModelMetadata::read(answer).map_err(Unread::Grpc)?;
        Ok(Self::Tensors { inputs: said(metadata.inputs), outputs: said(metadata.outputs) })
    }

    /// What of these terms the other does not keep, in words; empty if a client notices nothing. More outputs and more
    /// models are no break, and neither is an input that takes more sizes or an output that has fewer.
    pub(super) fn broken_by(&self, offered: &Self) -> Vec<String> {
        match (self, offered) {
            (Self::Ids(before), Self::Ids(after)) => {
                before.difference(after).map(|id| format!("the model {id:?} is gone")).collect()
            }
            (Self::Tensors { inputs, outputs }, Self::Tensors { inputs: new_inputs, outputs: new_outputs }) => {
                let mut broken = broken("input", inputs, new_inputs);
                let added = new_inputs.keys().filter(|name| !inputs.contains_key(*name));
                broken.extend(added.map(|name| format!("the input {name:?} is new: clients do not send it")));
                broken.extend(self::broken("output", outputs, new_outputs));
                broken
            }
            (before, after) => vec![format!("{before} before, {after} now")],
        }
    }
}

fn tensors(wire: Vec<WireTensor>) -> Tensors {
    let size = |size: Value| size.as_i64().or_else(|| size.as_str()?.parse().ok()).unwrap_or(-1);
    let tensor = |one: WireTensor| {
        (one.name, Tensor { datatype: one.datatype, shape: one.shape.into_iter().map(size).collect() })
    };
    wire.into_iter().map(tensor).collect()
}

fn said(metadata: Vec<TensorMetadata>) -> Tensors {
    metadata.into_iter().map(|one| (one.name, Tensor { datatype: one.datatype, shape: one.shape })).collect()
}

fn broken(noun: &str, before: &Tensors, after: &Tensors) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, was) in before {
        let Some(is) = after.get(name) else {
            broken.push(format!("the {noun} {name:?} is gone"));
            continue;
        };
        if was.datatype != is.datatype {
            broken.push(format!("the {noun} {name:?} was {}, is {}", was.datatype, is.datatype));
        }
        // What may vary: sizes that come in on the new side, sizes that go out on the old one.
        let (wide, narrow) = if noun == "input" { (&is.shape, &was.shape) } else { (&was.shape, &is.shape) };
        let fits = |(wide, narrow): (&i64, &i64)| *wide == -1 || wide == narrow;
        if wide.len() != narrow.len() || !wide.iter().zip(narrow).all(fits) {
            broken.push(format!("the {noun} {name:?} had shape {:?}, has {:?}", was.shape, is.shape));
        }
    }
    broken
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Self::Ids(ids) => write!(f, "{} model{}", ids.len(), plural(ids.len())),
            Self::Tensors { inputs, outputs } => {
                let (i, o) = (inputs.len(), outputs.len());
                write!(f, "{i} input{} and {o} output{}", plural(i), plural(o))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::time::Duration;

    fn read(body: &str) -> Result<Terms, Unread> {
        Terms::read(&Answer::whole(200, HeaderMap::new(), body.to_owned(), Duration::ZERO))
    }

    fn tensor(name: &str, datatype: &str, shape: &str) -> String {
        format!(r#"{{"name": "{name}", "datatype": "{datatype}", "shape": {shape}}}"#)
    }

    fn metadata(inputs: &[String], outputs: &[String]) -> Terms {
        let body = format!(r#"{{"name": "m", "inputs": [{}], "outputs": [{}]}}"#, inputs.join(","), outputs.join(","));
        read(&body).unwrap()
    }

    /// Fails when: something that clients rely on may change, or something that they do not notice may not.
    #[test]
    fn only_what_clients_rely_on_must_stay() {
        let (x, label) = (tensor("x", "FP32", "[-1, 4]"), tensor("label", "INT64", "[-1, 1]"));
        let before = metadata(std::slice::from_ref(&x), std::slice::from_ref(&label));
        let same = metadata(&[tensor("x", "FP32", r#"["-1", "4"]"#)], &[label.clone(), tensor("p", "FP32", "[3]")]);
        assert_eq!(before.broken_by(&same), [""; 0], "an added output, sizes as texts");
        let wider = metadata(&[tensor("x", "FP32", "[-1, -1]")], &[tensor("label", "INT64", "[8, 1]")]);
        assert_eq!(before.broken_by(&wider), [""; 0]);
        for (inputs, outputs, said) in [
            (vec![x.clone()], vec![], "the output \"label\" is gone"),
            (vec![x.clone()], vec![tensor("label", "FP32", "[-1, 1]")], "the output \"label\" was INT64, is FP32"),
            (
                vec![x.clone()],
                vec![tensor("label", "INT64", "[-1]")],
                "the output \"label\" had shape [-1, 1], has [-1]",
            ),
            (
                vec![tensor("x", "FP32", "[-1, 5]")],
                vec![label.clone()],
                "the input \"x\" had shape [-1, 4], has [-1, 5]",
            ),
            (vec![tensor("x", "FP32", "[1, 4]")], vec![label.clone()], "the input \"x\" had shape [-1, 4], has [1, 4]"),
            (
                vec![x.clone(), tensor("y", "BOOL", "[1]")],
                vec![label],
                "the input \"y\" is new: clients do not send it",
            ),
        ] {
            assert_eq!(before.broken_by(&metadata(&inputs, &outputs)), [said]);
        }
    }

    /// Fails when: a model may vanish from the list, or none may be added.
    #[test]
    fn models_may_be_added_and_not_removed() {
        let before = read(r#"{"object": "list", "data": [{"id": "a"}, {"id": "b"}]}"#).unwrap();
        let more = read(r#"{"data": [{"id": "c"}, {"id": "b"}, {"id": "a"}]}"#).unwrap();
        assert_eq!(before.broken_by(&more), [""; 0]);
        assert_eq!(more.broken_by(&before), ["the model \"c\" is gone"]);
    }

    /// Fails when: an answer that says nothing of models is taken for terms.
    #[test]
    fn what_says_nothing_is_no_contract() {
        for body in ["", "{}", "[]", "{\"inputs\": 3}", "<html>", "{\"data\": [{\"name\": 1}]}"] {
            assert!(read(body).is_err(), "{body}");
        }
        let missing = Answer::whole(404, HeaderMap::new(), "{\"inputs\": []}", Duration::ZERO);
        assert_eq!(Terms::read(&missing).unwrap_err().to_string(), "answered 404");
    }
}
