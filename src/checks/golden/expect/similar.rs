//! Likeness of two rows of numbers: cosine, the k largest, the largest.

/// The cosine of the angle between two rows of the same length.
///
/// # Errors
/// A number that is none, or a row of zeros against another one: there is no angle.
pub(super) fn cosine(left: &[f64], right: &[f64]) -> Result<f64, &'static str> {
    if left.iter().chain(right).any(|value| !value.is_finite()) {
        return Err("NaN or infinity");
    }
    let (left, right) = (scaled(left), scaled(right));
    match (left, right) {
        (None, None) => Ok(1.0),
        (Some(left), Some(right)) => Ok(dot(&left, &right) / (dot(&left, &left) * dot(&right, &right)).sqrt()),
        _ => Err("zeros alone on one side"),
    }
}

/// Divided by its largest size, so that no square is too large or too small; `None` for zeros alone.
fn scaled(row: &[f64]) -> Option<Vec<f64>> {
    let largest = row.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    (largest > 0.0).then(|| row.iter().map(|value| value / largest).collect())
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// How many of the expected row's `k` largest are among the found row's `k` largest. Where values are the same, either
/// is right.
pub(super) fn top_k_overlap(expected: &[f64], found: &[f64], k: usize) -> usize {
    let mut order: Vec<usize> = (0..expected.len()).collect();
    order.sort_by(|left, right| expected[*right].total_cmp(&expected[*left]));
    let mut sorted = found.to_vec();
    sorted.sort_by(|left, right| right.total_cmp(left));
    let k = k.min(sorted.len());
    let Some(least) = k.checked_sub(1).map(|last| sorted[last]) else { return 0 };
    order.iter().take(k).filter(|index| found.get(**index).is_some_and(|value| *value >= least)).count()
}

/// The index of the largest; the first of several.
pub(super) fn largest(row: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, value) in row.iter().enumerate() {
        if best.is_none_or(|best| *value > row[best]) {
            best = Some(index);
        }
    }
    best
}
