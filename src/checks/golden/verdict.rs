//! What a judged answer comes to, and what a whole set does.

use std::{fmt, time::Duration};

use super::evidence::one_line;

/// How one request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub name: String,
    /// The line of the file, counted from 1.
    pub line: usize,
    pub outcome: Outcome,
    /// To the answer's last byte; zero if nothing was sent.
    pub took: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// At least one.
    Failed(Vec<Failure>),
    /// It was not sent; why.
    Skipped(String),
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The key in the file, such as `tensors.predict.abs`.
    pub expectation: String,
    /// Where in the answer, such as `[0,2]` or `$.choices[0]`; empty if it is the whole answer.
    pub place: String,
    pub expected: String,
    pub found: String,
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    /// One line for each expectation that does not hold, or the reason why it was skipped.
    pub fn evidence(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Passed => Vec::new(),
            Outcome::Failed(failures) => failures.iter().map(Failure::to_string).collect(),
            Outcome::Skipped(why) => vec![format!("skipped: {}", one_line(why))],
        }
    }
}

impl fmt::Display for Verdict {
    /// `flower 3 (line 12): failed in 4 ms: status: expected 2xx, found 500`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}): ", one_line(&self.name), self.line)?;
        match &self.outcome {
            Outcome::Passed => write!(f, "passed in {} ms", self.took.as_millis()),
            Outcome::Failed(_) => write!(f, "failed in {} ms: {}", self.took.as_millis(), self.evidence().join("; ")),
            Outcome::Skipped(_) => f.write_str(&self.evidence().join("; ")),
        }
    }
}

impl Failure {
    pub(super) fn new(expectation: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expectation: expectation.into(), place: String::new(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn at(self, place: impl Into<String>) -> Self {
        Self { place: place.into(), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { String::new() } else { format!(" at {}", one_line(&self.place)) };
        write!(
            f,
            "{}{place}: expected {}, found {}",
            one_line(&self.expectation),
            one_line(&self.expected),
            one_line(&self.found)
        )
    }
}

/// How many requests of a set must pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    All,
    AtLeast(usize),
    /// In percent of all, rounded up.
    Share(f64),
}

impl Need {
    /// Of so many requests, this many.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 100 of at most ten thousand"
    )]
    pub fn of(self, total: usize) -> usize {
        match self {
            Need::All => total,
            Need::AtLeast(count) => count.min(total),
            // Less a hair, since 90 % of 10 must not become 10 for a rounding error.
            Need::Share(percent) => ((total as f64 * percent / 100.0 - 1e-9).ceil().max(0.0) as usize).min(total),
        }
    }
}

/// How a set went at one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// At least so many must pass; one that was skipped has not.
    pub needed: usize,
}

impl Tally {
    /// Whether enough passed.
    pub fn is_enough(&self) -> bool {
        self.passed >= self.needed
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.passed + self.failed + self.skipped;
        write!(f, "{} of {total} golden requests passed", self.passed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, "; {} needed", self.needed)
    }
}
