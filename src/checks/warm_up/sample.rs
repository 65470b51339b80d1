//! What is sent: a few different requests of the file, the same ones in each window.

use crate::{
    checks::{ask::address, golden::Set},
    upstream::Endpoint,
};

/// The requests of the file that this endpoint has an address for, by their index; of many, some that are spread evenly.
pub(super) fn choose(set: &Set, endpoint: &Endpoint) -> Vec<usize> {
    let cases = set.cases().iter().enumerate();
    let fitting = cases.filter(|(_, case)| address(endpoint, case.request()).is_ok()).map(|(index, _)| index);
    spread(&fitting.collect::<Vec<_>>())
}

fn spread(all: &[usize]) -> Vec<usize> {
    let count = all.len().min(DIFFERENT_MAX);
    (0..count).filter_map(|place| all.get(place * all.len() / count).copied()).collect()
}

/// Requests of a window: so many that its median means something, in whole rounds of the different ones, since a window
/// with another mixture has another median.
pub(super) fn window_size(at_once: usize, different: usize) -> usize {
    (at_once * ROUNDS).max(REQUESTS_MIN).next_multiple_of(different.max(1))
}

const DIFFERENT_MAX: usize = 16;
const REQUESTS_MIN: usize = 8;
/// Requests of a window that follow each other.
const ROUNDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: requests are left out of a short file, or those of a long one are not spread over all of it.
    #[test]
    fn many_requests_are_thinned_out_evenly() {
        assert_eq!(spread(&[]), [0; 0]);
        assert_eq!(spread(&[3, 5, 8]), [3, 5, 8]);
        let many: Vec<usize> = (0..100).collect();
        let few = spread(&many);
        assert_eq!((few.len(), few[0], few[1], few[15]), (16, 0, 6, 93));
    }

    /// Fails when: a window is too short, or is no whole number of rounds.
    #[test]
    fn windows_are_whole_rounds() {
        for (at_once, different, size) in [(1, 1, 8), (2, 3, 9), (4, 3, 18), (8, 1, 32), (8, 16, 32), (1, 16, 16)] {
            assert_eq!(window_size(at_once, different), size, "{at_once} at once of {different}");
        }
    }
}
