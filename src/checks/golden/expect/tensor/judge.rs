//! An output against what it must be like.

use std::iter::once;

use super::{Data, Failure, Labels, Tensor, TensorCheck, TopK, View, difference, similar};
use crate::checks::golden::evidence::number;

impl TensorCheck {
    pub(in crate::checks::golden::expect) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        match view.tensors() {
            Err(reason) => failures.push(self.failure("", "outputs", reason)),
            Ok(tensors) => match tensors.iter().find(|tensor| tensor.name == self.name) {
                Some(tensor) => self.judge_tensor(tensor, failures),
                None => {
                    let names: Vec<_> = tensors.iter().take(20).map(|tensor| format!("{:?}", tensor.name)).collect();
                    let found = if names.is_empty() { "no outputs".to_owned() } else { names.join(", ") };
                    failures.push(self.failure("", "an output of this name", found));
                }
            },
        }
    }

    fn failure(&self, check: &str, expected: impl Into<String>, found: impl Into<String>) -> Failure {
        Failure::new(format!("tensors.{}{check}", self.name), expected, found)
    }

    fn judge_tensor(&self, tensor: &Tensor, failures: &mut Vec<Failure>) {
        failures.extend(self.wrong_datatype(tensor));
        let wrong_shape = self.wrong_shape(tensor);
        let is_shaped = wrong_shape.is_none();
        failures.extend(wrong_shape);
        if self.finite
            && let Some(index) = tensor.data.not_finite()
        {
            let found = tensor.data.show(index);
            failures.push(self.failure(".finite", "finite numbers", found).at(tensor.position(index)));
            return;
        }
        failures.extend(self.out_of_range(tensor));
        if let Some(labels) = self.labels.as_ref().filter(|_| is_shaped) {
            failures.extend(self.judge_labels(labels, tensor));
        }
        if let Some(reference) = self.data.as_ref().filter(|_| is_shaped) {
            self.judge_values(reference, tensor, failures);
        }
    }

    fn wrong_datatype(&self, tensor: &Tensor) -> Option<Failure> {
        let (wanted, found) = (self.datatype?, tensor.datatype);
        let shown = found.map_or("an answer without datatypes", |found| found.as_str());
        (found != Some(wanted)).then(|| self.failure(".datatype", wanted.to_string(), shown))
    }

    fn wrong_shape(&self, tensor: &Tensor) -> Option<Failure> {
        let wanted = self.shape.as_ref()?;
        let fits = |(wanted, found): (&Option<usize>, &usize)| wanted.is_none_or(|wanted| wanted == *found);
        let holds = wanted.len() == tensor.shape.len() && wanted.iter().zip(&tensor.shape).all(fits);
        let shown: Vec<_> =
            wanted.iter().map(|size| size.map_or_else(|| "any".to_owned(), |size| size.to_string())).collect();
        (!holds).then(|| self.failure(".shape", format!("[{}]", shown.join(", ")), format!("{:?}", tensor.shape)))
    }

    fn out_of_range(&self, tensor: &Tensor) -> Option<Failure> {
        let range = self.range?;
        let Some(numbers) = tensor.data.numbers() else {
            return Some(self.failure(".range", "numbers", "bytes"));
        };
        let index = numbers.iter().position(|number| !range.holds(*number))?;
        Some(self.failure(".range", range.to_string(), number(numbers[index])).at(tensor.position(index)))
    }

    fn judge_values(&self, reference: &Data, tensor: &Tensor, failures: &mut Vec<Failure>) {
        let (wanted, found) = (reference.len(), tensor.data.len());
        if wanted != found {
            let found = format!("{found} in the shape {:?}", tensor.shape);
            return failures.push(self.failure(".data", format!("{wanted} values"), found));
        }
        failures.extend(self.judge_elements(reference, tensor));
        if self.cosine.is_none() && self.top_k.is_none() {
            return;
        }
        let (Some(left), Some(right)) = (reference.numbers(), tensor.data.numbers()) else {
            return failures.push(self.failure(".data", "numbers to compare", "bytes"));
        };
        let length = tensor.row_length().max(1);
        let rows: Vec<_> = left.chunks(length).zip(right.chunks(length)).collect();
        failures.extend(self.cosine.and_then(|least| self.judge_cosine(least, &rows)));
        failures.extend(self.top_k.and_then(|top_k| self.judge_top_k(top_k, &rows)));
    }

    fn judge_elements(&self, reference: &Data, tensor: &Tensor) -> Option<Failure> {
        let tolerance = self.elements?;
        let worst = difference(reference, tensor, tolerance)?;
        let off = worst.off.map_or_else(String::new, |off| format!(", off by {}", number(off)));
        let found = format!("{}{off}; {} of {} values differ", worst.found, worst.count, tensor.data.len());
        let expected = format!("{}{tolerance}", worst.expected);
        Some(self.failure(".data", expected, found).at(tensor.position(worst.index)))
    }

    fn judge_cosine(&self, least: f64, rows: &[(&[f64], &[f64])]) -> Option<Failure> {
        for (row, (left, right)) in rows.iter().enumerate() {
            let failure = |found: String| {
                Some(self.failure(".cosine", format!("at least {least}"), found).at(format!("row {row}")))
            };
            match similar::cosine(left, right) {
                // Less a hair: a row is like itself but for rounding.
                Ok(cosine) if cosine >= least - 1e-12 => {}
                Ok(cosine) => return failure(format!("{cosine:.6}")),
                Err(reason) => return failure(reason.to_owned()),
            }
        }
        None
    }

    fn judge_top_k(&self, top_k: TopK, rows: &[(&[f64], &[f64])]) -> Option<Failure> {
        let TopK { k, agree } = top_k;
        let overlap =
            |(left, right): &(&[f64], &[f64])| (similar::top_k_overlap(left, right, k), agree.min(left.len()));
        let (row, (found, wanted)) =
            rows.iter().map(overlap).enumerate().find(|(_, (found, wanted))| found < wanted)?;
        let expected = format!("{wanted} of the reference's top {k}");
        Some(self.failure(".top_k", expected, found.to_string()).at(format!("row {row}")))
    }

    fn judge_labels(&self, labels: &Labels, tensor: &Tensor) -> Option<Failure> {
        let length = tensor.row_length();
        // TF-Serving's list of scalars has one for each instance.
        let length = if tensor.datatype.is_none() && tensor.shape.len() == 1 { 1 } else { length };
        let found = labels_of(&tensor.data, length);
        let wanted = match (&labels.of, &self.data) {
            (Some(of), _) => of.iter().map(|label| Some(Label::Number(*label))).collect(),
            (None, Some(reference)) => labels_of(reference, length),
            (None, None) => return None,
        };
        if wanted.len() != found.len() {
            return Some(self.failure(".labels", format!("{} rows", wanted.len()), found.len().to_string()));
        }
        let agrees = |(wanted, found): &(&Option<Label>, &Option<Label>)| wanted.is_some() && wanted == found;
        let count = wanted.iter().zip(&found).filter(agrees).count();
        #[expect(clippy::cast_precision_loss, reason = "no answer has 2^53 rows")]
        let is_enough = count as f64 >= labels.agree * found.len() as f64 - 1e-9;
        let first = wanted.iter().zip(&found).position(|both| !agrees(&both))?;
        let shown = |label: &Option<Label>| label.as_ref().map_or_else(|| "none".to_owned(), Label::to_string);
        let expected = format!("{} (and {} of the rows to agree)", shown(&wanted[first]), labels.agree);
        let found = format!("{}; {count} of {} rows agree", shown(&found[first]), found.len());
        (!is_enough).then(|| self.failure(".labels", expected, found).at(format!("row {first}")))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Label {
    Number(i128),
    Text(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Number(number) => write!(f, "{number}"),
            Label::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// One for each row. A tensor of one dimension and of whole numbers or strings is a list of labels already.
fn labels_of(data: &Data, length: usize) -> Vec<Option<Label>> {
    let of_largest = |row: &[f64]| similar::largest(row).map(|index| Label::Number(index as i128));
    match data {
        Data::Bytes(values) => {
            values.iter().map(|value| Some(Label::Text(String::from_utf8_lossy(value).into_owned()))).collect()
        }
        Data::Ints(values) if length <= 1 || values.len() == length => {
            values.iter().map(|value| Some(Label::Number(*value))).collect()
        }
        Data::Ints(_) | Data::Floats(_) => {
            let numbers = data.numbers().unwrap_or_default();
            let rows = numbers.chunks(length.max(1));
            rows.flat_map(|row| once(if row.len() == 1 { whole(row[0]) } else { of_largest(row) })).collect()
        }
    }
}

/// A label that came as a float, such as the 2.0 of TF-Serving.
#[expect(clippy::cast_possible_truncation, reason = "it is a whole number of at most 2^53")]
fn whole(value: f64) -> Option<Label> {
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(Label::Number(value as i128))
}
