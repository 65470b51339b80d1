//! The two versions of the iris classifier: multinomial logistic regression, small enough to read.
//!
//! How they were trained: scikit-learn 1.9.1, `LogisticRegression(C=1.0, max_iter=10000)`, on all 150 rows of
//! `load_iris`; coefficients rounded to four decimals. Version 1 saw only the two sepal features and gets 123 of the
//! 150 rows right (82 %; 81 % in ten-fold cross-validation). Version 2 saw all four and gets 146 right (97 %;
//! 97 % in cross-validation). The test below measures the same numbers again.

use serde::{Deserialize, Serialize};

/// Sepal length, sepal width, petal length, petal width; in centimetres.
pub(super) type Features = [f64; 4];

/// The names of the labels 0, 1 and 2.
pub(super) const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// Which classifier a demo server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Knows only the sepals: 82 % right.
    #[serde(rename = "1")]
    One,
    /// Knows sepals and petals: 97 % right.
    #[serde(rename = "2")]
    Two,
}

impl Version {
    pub(super) const BOTH: [Version; 2] = [Version::One, Version::Two];

    /// `1` or `2`, as the servers and the proxy's `x-verdigris-version` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::One => "1",
            Version::Two => "2",
        }
    }

    /// The version of this name, if it is one of the demo's.
    pub(super) fn parse(text: &str) -> Option<Version> {
        Version::BOTH.into_iter().find(|version| version.as_str() == text)
    }

    /// 0 or 1: the place of this version in a pair of counters.
    pub(super) fn index(self) -> usize {
        match self {
            Version::One => 0,
            Version::Two => 1,
        }
    }

    fn weights(self) -> &'static Weights {
        match self {
            Version::One => &SEPALS_ONLY,
            Version::Two => &ALL_FEATURES,
        }
    }
}

/// What a classifier says of one flower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Classification {
    /// Index into [`SPECIES`].
    pub(super) label: usize,
    /// One for each species; they sum to 1.
    pub(super) probabilities: [f64; 3],
}

/// Classifies one flower. Features up to 1e300 give finite probabilities; [`super::protocol`] lets none larger in.
pub(super) fn classify(version: Version, features: &Features) -> Classification {
    let weights = version.weights();
    let mut scores = weights.intercepts;
    for (score, row) in scores.iter_mut().zip(&weights.coefficients) {
        *score += row.iter().zip(features).map(|(w, x)| w * x).sum::<f64>();
    }
    let probabilities = softmax(scores);
    let best = |a: &usize, b: &usize| probabilities[*a].total_cmp(&probabilities[*b]);
    Classification { label: (0..SPECIES.len()).max_by(best).unwrap_or(0), probabilities }
}

/// The largest score is taken off first, so that the exponentials cannot overflow.
fn softmax(scores: [f64; 3]) -> [f64; 3] {
    let top = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let powers = scores.map(|score| (score - top).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// One row of coefficients and one intercept for each species.
#[derive(Debug)]
struct Weights {
    coefficients: [[f64; 4]; 3],
    intercepts: [f64; 3],
}

/// Version 1. The petals' weights are zero because it never saw them.
const SEPALS_ONLY: Weights = Weights {
    coefficients: [[-2.7086, 2.324, 0.0, 0.0], [0.6126, -1.571, 0.0, 0.0], [2.096, -0.753, 0.0, 0.0]],
    intercepts: [7.9114, 1.847, -9.7584],
};

/// Version 2.
const ALL_FEATURES: Weights = Weights {
    coefficients: [
        [-0.4242, 0.9663, -2.516, -1.0821],
        [0.5346, -0.3204, -0.207, -0.9432],
        [-0.1105, -0.6459, 2.7231, 2.0253],
    ],
    intercepts: [9.8553, 2.2342, -12.0895],
};

#[cfg(test)]
mod tests {
    use super::super::iris::{FLOWERS, flower};
    use super::*;

    #[test]
    fn accuracies_are_those_the_comments_state() {
        let right = |version| {
            let hit = |row: &usize| classify(version, &flower(*row).features).label == flower(*row).label;
            (0..FLOWERS).filter(hit).count()
        };
        assert_eq!((right(Version::One), right(Version::Two)), (123, 146));
    }

    #[test]
    fn probabilities_match_those_of_the_training_library() {
        let first = flower(0).features;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} is not {b}");
        close(classify(Version::One, &first).probabilities[0], 0.9235);
        close(classify(Version::Two, &first).probabilities[0], 0.9816);
    }

    #[test]
    fn probabilities_of_absurd_flowers_are_still_probabilities() {
        for size in [0.0, -1e6, 1e6, 1e300] {
            let said = classify(Version::Two, &[size; 4]).probabilities;
            assert!((said.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{size}: {said:?}");
        }
    }
}
