//! One line of the file: a request and what its answer must be like.

mod body;
mod read;

use std::time::Duration;

use super::{
    answer::Answer,
    expect::Expect,
    request::Request,
    verdict::{Failure, Outcome, Verdict},
    view::View,
};

pub(super) use read::{read_name, read_request};

/// A golden request.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    line: usize,
    request: Request,
    expect: Expect,
    timeout: Duration,
    answer_bytes_max: u64,
}

impl Case {
    /// Its name, which no other of the file has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its line in the file, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is to be sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Until the last byte of the answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Bytes of the answer's body after which reading must be given up.
    pub fn answer_bytes_max(&self) -> u64 {
        self.answer_bytes_max
    }

    /// Holds the answer against every expectation. Blocks for as long as that takes: milliseconds for a common answer,
    /// a second for one of hundreds of megabytes.
    pub fn judge(&self, answer: &Answer) -> Verdict {
        let failures = self.expect.judge(&View::new(answer, self.request.kind));
        let outcome = if failures.is_empty() { Outcome::Passed } else { Outcome::Failed(failures) };
        self.verdict(outcome, answer.took)
    }

    /// What makes the answer an error, whatever is in it: it was cut, or its status is none of those expected.
    pub fn error_in(&self, answer: &Answer) -> Option<String> {
        self.expect.error_in(&View::new(answer, self.request.kind)).map(|failure| failure.to_string())
    }

    /// The verdict when no answer came: the endpoint could not be reached, or closed without a word.
    pub fn unanswered(&self, reason: impl Into<String>, took: Duration) -> Verdict {
        self.verdict(Outcome::Failed(vec![Failure::new("answer", "an answer", reason)]), took)
    }

    /// The verdict when it was not sent, such as a gRPC one to an endpoint without a gRPC address.
    pub fn skipped(&self, reason: impl Into<String>) -> Verdict {
        self.verdict(Outcome::Skipped(reason.into()), Duration::ZERO)
    }

    fn verdict(&self, outcome: Outcome, took: Duration) -> Verdict {
        Verdict { name: self.name.clone(), line: self.line, outcome, took }
    }
}
