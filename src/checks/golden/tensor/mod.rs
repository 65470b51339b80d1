//! Tensors as the model protocols carry them: JSON and binary of the Open Inference Protocol, TF-Serving predictions.
//!
//! Invariants: a [`Tensor`] holds exactly as many elements as its shape says; whatever does not fit is an error with the
//! tensor's name and a reason. Never: judging values.

mod datatype;
mod half;
mod json;
mod predictions;
mod raw;
mod v2;

#[cfg(test)]
mod tests;

pub(super) use datatype::Datatype;
pub(super) use json::{data_of, scalars_of};
pub(super) use predictions::predictions;
pub(super) use raw::{decode, encode};
pub(super) use v2::{INFERENCE_HEADER, outputs, split};

use super::evidence;

/// One named output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// `None` where the protocol does not say it.
    pub(super) datatype: Option<Datatype>,
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// Whole numbers of any type; truth values are 0 and 1.
    Ints(Vec<i128>),
    Floats(Vec<f64>),
    /// Strings, or any bytes.
    Bytes(Vec<Vec<u8>>),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::Ints(values) => values.len(),
            Data::Floats(values) => values.len(),
            Data::Bytes(values) => values.len(),
        }
    }

    /// As numbers; `None` for bytes.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an integer above 2^53 is compared exactly elsewhere; a tolerance is for the rest"
    )]
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Data::Ints(values) => Some(values.iter().map(|value| *value as f64).collect()),
            Data::Floats(values) => Some(values.clone()),
            Data::Bytes(_) => None,
        }
    }

    /// One element as a person writes it.
    pub(super) fn show(&self, index: usize) -> String {
        let shown = match self {
            Data::Ints(values) => values.get(index).map(i128::to_string),
            Data::Floats(values) => values.get(index).map(|value| evidence::number(*value)),
            Data::Bytes(values) => values.get(index).map(|value| format!("{:?}", String::from_utf8_lossy(value))),
        };
        shown.unwrap_or_else(|| "nothing".to_owned())
    }

    /// The first number that is none.
    pub(super) fn not_finite(&self) -> Option<usize> {
        match self {
            Data::Floats(values) => values.iter().position(|value| !value.is_finite()),
            Data::Ints(_) | Data::Bytes(_) => None,
        }
    }
}

impl Tensor {
    /// Checks that there are as many elements as the shape says.
    pub(super) fn new(name: String, datatype: Option<Datatype>, shape: Vec<usize>, data: Data) -> Result<Self, String> {
        let wanted = elements(&shape).ok_or_else(|| format!("tensor {name:?}: the shape {shape:?} is too large"))?;
        if wanted != data.len() {
            return Err(format!(
                "tensor {name:?}: the shape {shape:?} asks for {wanted} values, there are {}",
                data.len()
            ));
        }
        Ok(Self { name, datatype, shape, data })
    }

    /// Rows along the first dimension, each of so many elements. A tensor of one dimension is one row.
    pub(super) fn row_length(&self) -> usize {
        match self.shape.as_slice() {
            [] | [_] => self.data.len(),
            [_, rest @ ..] => elements(rest).unwrap_or(0),
        }
    }

    /// Where an element is, such as `[0,2]`.
    pub(super) fn position(&self, index: usize) -> String {
        position(&self.shape, index)
    }
}

fn position(shape: &[usize], mut index: usize) -> String {
    let mut steps: Vec<String> = Vec::with_capacity(shape.len());
    for size in shape.iter().rev() {
        steps.push(index.checked_rem(*size).unwrap_or(0).to_string());
        index = index.checked_div(*size).unwrap_or(0);
    }
    steps.reverse();
    format!("[{}]", steps.join(","))
}

/// The product of a shape; `None` if no memory could hold it.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}
