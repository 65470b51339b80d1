//! Elements of a tensor against a reference, one by one.

use super::tolerance::Tolerance;
use crate::checks::golden::{
    evidence::number,
    tensor::{Data, Datatype, Tensor},
};

/// How a tensor differs from its reference.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Elements that are too far off.
    pub(super) count: usize,
    /// The one that is farthest off, or the first where that cannot be said.
    pub(super) index: usize,
    pub(super) expected: String,
    pub(super) found: String,
    /// How far; `None` for what are no numbers.
    pub(super) off: Option<f64>,
}

/// `None` if all elements are near enough. Both must have the same number of elements.
pub(super) fn difference(expected: &Data, found: &Tensor, tolerance: Tolerance) -> Option<Difference> {
    match (expected, &found.data) {
        (Data::Bytes(left), Data::Bytes(right)) => unequal(left, right, expected, found),
        (Data::Ints(left), Data::Ints(right)) if tolerance.is_exact() => unequal(left, right, expected, found),
        _ => match (expected.numbers(), found.data.numbers()) {
            (Some(left), Some(right)) => far(&left, &right, found, tolerance),
            _ => first(found.data.len(), 0, expected, found),
        },
    }
}

fn unequal<T: PartialEq>(left: &[T], right: &[T], expected: &Data, found: &Tensor) -> Option<Difference> {
    let mut wrong =
        left.iter().zip(right).enumerate().filter(|(_, (left, right))| left != right).map(|(index, _)| index);
    let index = wrong.next()?;
    first(1 + wrong.count(), index, expected, found)
}

fn first(count: usize, index: usize, expected: &Data, found: &Tensor) -> Option<Difference> {
    (count > 0).then(|| Difference {
        count,
        index,
        expected: expected.show(index),
        found: found.data.show(index),
        off: None,
    })
}

fn far(expected: &[f64], found: &[f64], tensor: &Tensor, tolerance: Tolerance) -> Option<Difference> {
    // What a server can say in this datatype is the most that can be asked of it.
    let rounded = |value: f64| tensor.datatype.map_or(value, |datatype: Datatype| datatype.round(value));
    let (mut count, mut worst): (usize, Option<(usize, f64)>) = (0, None);
    for (index, (left, right)) in expected.iter().zip(found).enumerate() {
        if tolerance.allows(*left, *right) || tolerance.allows(rounded(*left), rounded(*right)) {
            continue;
        }
        count += 1;
        let off = (left - right).abs();
        let off = if off.is_nan() { f64::INFINITY } else { off };
        if worst.is_none_or(|(_, most)| off > most) {
            worst = Some((index, off));
        }
    }
    worst.map(|(index, off)| Difference {
        count,
        index,
        expected: number(expected[index]),
        found: number(found[index]),
        off: off.is_finite().then_some(off),
    })
}
