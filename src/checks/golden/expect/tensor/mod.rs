//! A named output: its datatype and shape, and its values against a reference.

mod judge;

use super::{
    Failure, Node, Reader, View,
    compare::difference,
    similar,
    tolerance::{Range, Tolerance},
};
use crate::checks::golden::{
    fields::Fields,
    tensor::{Data, Datatype, Tensor, scalars_of},
};

/// What one output must be like.
#[derive(Clone, Debug)]
pub(super) struct TensorCheck {
    name: String,
    datatype: Option<Datatype>,
    /// `None` for a size that may be any.
    shape: Option<Vec<Option<usize>>>,
    data: Option<Data>,
    /// Compare each element.
    elements: Option<Tolerance>,
    cosine: Option<f64>,
    top_k: Option<TopK>,
    labels: Option<Labels>,
    range: Option<Range>,
    finite: bool,
}

/// Of the `k` largest of each row, so many must be the reference's.
#[derive(Clone, Copy, Debug)]
struct TopK {
    k: usize,
    agree: usize,
}

/// The label of a row is the index of its largest value; of a row of one element, that element.
#[derive(Clone, Debug)]
struct Labels {
    /// `None`: those of the reference.
    of: Option<Vec<i128>>,
    /// The least share of rows that must agree.
    agree: f64,
}

/// An object of names.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Vec<TensorCheck> {
    let Some(fields) = reader.map(node) else { return Vec::new() };
    fields.iter().filter_map(|field| TensorCheck::read(reader, &field.key, &field.value)).collect()
}

impl TensorCheck {
    fn read<'t>(reader: &mut Reader<'t>, name: &str, node: &Node<'t>) -> Option<Self> {
        let fields = reader.object(node, KEYS)?;
        let mut tolerance = Tolerance::default();
        let mut check = Self {
            name: name.to_owned(),
            datatype: None,
            shape: None,
            data: None,
            elements: None,
            cosine: None,
            top_k: None,
            labels: None,
            range: None,
            finite: true,
        };
        for field in fields.iter() {
            let value = &field.value;
            match field.key.as_ref() {
                "datatype" => check.datatype = read_datatype(reader, value),
                "shape" => check.shape = read_shape(reader, value),
                "data" => check.data = read_data(reader, value),
                "abs" => tolerance.read_abs(reader, value),
                "rel" => tolerance.read_rel(reader, value),
                "cosine" => check.cosine = reader.number_in(value, -1.0, 1.0),
                "top_k" => check.top_k = read_top_k(reader, value),
                "labels" => check.labels = read_labels(reader, value, fields.find("agree")),
                "range" => check.range = Range::read(reader, value),
                "finite" => check.finite = reader.flag(value).unwrap_or(true),
                _ => {}
            }
        }
        check.settle(reader, node, &fields, tolerance);
        Some(check)
    }

    /// What follows from several keys together.
    fn settle<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'t>, fields: &Fields<'t>, tolerance: Tolerance) {
        let has = |key: &&str| fields.find(key).is_some();
        let own_labels = self.labels.as_ref().is_some_and(|labels| labels.of.is_some());
        let needy = ["abs", "rel", "cosine", "top_k"].into_iter().find(has);
        let needy = needy.or_else(|| has(&"labels").then_some("labels").filter(|_| !own_labels));
        if let Some(key) = needy.filter(|_| !has(&"data")) {
            reader.refuse(node, format!("`{key}` without `data`"), "give the reference values as `data`");
        }
        if has(&"agree") && !has(&"labels") {
            reader.refuse(node, "`agree` without `labels`", "write \"labels\": true, or a list of labels");
        }
        let only_alike = ["cosine", "top_k", "labels"].iter().any(has) && !["abs", "rel"].iter().any(has);
        self.elements = (has(&"data") && !only_alike).then_some(tolerance);
    }
}

fn read_datatype<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Datatype> {
    let text = reader.string(node)?;
    reader.accept(node, text.parse(), "write it as the protocol does, such as \"FP32\"")
}

fn read_shape<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Vec<Option<usize>>> {
    let sizes: Option<Vec<i64>> = serde_json::from_str(node.raw).ok();
    let sizes = sizes.filter(|sizes| sizes.iter().all(|size| *size >= -1));
    if sizes.is_none() {
        reader.refuse(node, "not a shape", "write a list of sizes such as [1, 3], with -1 for any");
    }
    Some(sizes?.into_iter().map(|size| usize::try_from(size).ok()).collect())
}

fn read_data<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Data> {
    let value = reader.value(node)?;
    reader.accept(node, scalars_of(&value), "write numbers alone or strings alone, flat or nested")
}

/// `5`, or `{"k": 5, "agree": 4}`.
fn read_top_k<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<TopK> {
    let count = |reader: &mut Reader<'t>, node: &Node<'t>, max: u64| {
        reader.whole(node, 1, max).and_then(|count| usize::try_from(count).ok())
    };
    if !node.is_object() {
        let k = count(reader, node, K_MAX)?;
        return Some(TopK { k, agree: k });
    }
    let fields = reader.object(node, &["k", "agree"])?;
    let Some(k) = fields.find("k") else {
        reader.refuse(node, "there is no `k`", "write {\"k\": 5, \"agree\": 4}");
        return None;
    };
    let k = count(reader, k, K_MAX)?;
    let agree = fields.find("agree").map_or(Some(k), |agree| count(reader, agree, k as u64))?;
    Some(TopK { k, agree })
}

/// `true` for those of `data`, or a list.
fn read_labels<'t>(reader: &mut Reader<'t>, node: &Node<'t>, agree: Option<&Node<'t>>) -> Option<Labels> {
    let agree = agree.map_or(Some(1.0), |agree| reader.number_in(agree, 0.0, 1.0))?;
    if node.raw == "true" {
        return Some(Labels { of: None, agree });
    }
    let of: Option<Vec<i64>> = serde_json::from_str(node.raw).ok();
    if of.is_none() {
        reader.refuse(node, "no labels", "write true for those of `data`, or a list of whole numbers");
    }
    Some(Labels { of: Some(of?.into_iter().map(i128::from).collect()), agree })
}

const KEYS: &[&str] =
    &["datatype", "shape", "data", "abs", "rel", "cosine", "top_k", "labels", "agree", "range", "finite"];
const K_MAX: u64 = 100_000;
