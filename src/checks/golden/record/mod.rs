//! A golden file out of requests that were answered: how people come by their first set.
//!
//! Invariants: whatever is written passes with the very answers that it was made from; what is named is redacted in
//! keys, headers, query and tensors, or the request is left out with a reason: never written because nobody could look.

mod expectation;
mod line;
mod redact;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use http::header::CONTENT_ENCODING;

use super::{
    answer::{Answer, AnswerEnd},
    file::Set,
    grpc::{body_message, status_of},
    request::Request,
};

pub use redact::{CREDENTIALS, Redaction};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `None` to have one made of method and path.
    pub name: Option<String>,
    pub request: Request,
    pub answer: Answer,
    /// The answer to the same request sent once more. What differs between the two is not expected to stay.
    pub again: Option<Answer>,
}

/// A golden file, and what did not get into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// JSON Lines, settings first.
    pub text: String,
    /// How many requests are in it.
    pub count: usize,
    /// Filled by [`Set::record`] only: a [`Recorder`] hands out what it leaves out.
    pub left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub name: String,
    pub reason: String,
}

/// Writes a golden file, request by request.
#[derive(Debug)]
pub struct Recorder {
    redaction: Redaction,
    recording: Recording,
    names: HashSet<String>,
    /// The next number for each name that was wanted more than once.
    numbers: HashMap<String, usize>,
}

impl Recorder {
    pub fn new(redaction: Redaction) -> Self {
        let text = "{\"golden\": 1, \"need\": \"all\"}\n".to_owned();
        let recording = Recording { text, count: 0, left_out: Vec::new() };
        Self { redaction, recording, names: HashSet::new(), numbers: HashMap::new() }
    }

    /// Adds an exchange: status, tensors within a ten-thousandth, embeddings by cosine, a text only where the same request
    /// gives the same text; else what kind of answer it is. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It is left out, and nothing is kept of it.
    pub fn add(&mut self, exchange: &Recorded) -> Result<(), LeftOut> {
        let name = self.unique(name_of(exchange));
        let line = worth_keeping(exchange).and_then(|()| line::write(&name, exchange, &self.redaction));
        match line {
            Ok(line) if self.recording.text.len() + line.len() < TEXT_BYTES_MAX => {
                self.recording.text.push_str(&line);
                self.recording.text.push('\n');
                self.recording.count += 1;
                Ok(())
            }
            Ok(_) => Err(self.leave_out(name, "the file would be longer than 30 MiB".to_owned())),
            Err(reason) => Err(self.leave_out(name, reason)),
        }
    }

    /// How many requests are in it.
    pub fn count(&self) -> usize {
        self.recording.count
    }

    pub fn finish(self) -> Recording {
        self.recording
    }

    /// Its name is free again: a recording may leave out millions.
    fn leave_out(&mut self, name: String, reason: String) -> LeftOut {
        self.names.remove(&name);
        LeftOut { name, reason }
    }

    fn unique(&mut self, wanted: String) -> String {
        if self.names.insert(wanted.clone()) {
            return wanted;
        }
        let number = self.numbers.entry(wanted.clone()).or_insert(2);
        loop {
            let name = format!("{wanted} ({number})");
            *number += 1;
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

impl Set {
    /// Writes a golden file of all these exchanges; see [`Recorder::add`].
    pub fn record(exchanges: &[Recorded], redaction: &Redaction) -> Recording {
        let mut recorder = Recorder::new(redaction.clone());
        let left_out = exchanges.iter().filter_map(|exchange| recorder.add(exchange).err()).collect();
        Recording { left_out, ..recorder.finish() }
    }
}

impl Redaction {
    /// What a gate will send when it reads this request in the file: without what is redacted, and without credentials.
    ///
    /// # Errors
    /// Why it cannot be in the file.
    pub fn replayable(&self, request: &Request) -> Result<Request, String> {
        line::replayable(request, self)
    }
}

impl Recorded {
    /// An answer that came compressed tells nothing; the second one was asked for without.
    pub fn prefer_plain(&mut self) {
        let is_plain = |answer: &Answer| coding_of(answer).is_none();
        if !is_plain(&self.answer)
            && let Some(again) = self.again.take_if(|again| is_plain(again))
        {
            self.answer = again;
        }
    }
}

/// What went wrong once is no example. A refusal of a wrong request is.
fn worth_keeping(exchange: &Recorded) -> Result<(), String> {
    let answer = &exchange.answer;
    if answer.end != AnswerEnd::Complete {
        return Err("its answer is not complete".to_owned());
    }
    if answer.status >= 500 {
        return Err(format!("its answer is the error {}", answer.status));
    }
    if let Some(coding) = coding_of(answer) {
        return Err(format!("its answer is compressed ({coding}); sent once more it would not be: ask for that"));
    }
    match status_of(answer) {
        Some(status) if !GRPC_KEPT.contains(&status.code) => {
            Err(format!("its answer is the gRPC error {}", status.code))
        }
        Some(status) if status.code == 0 && exchange.request.is_grpc() => match body_message(&answer.body) {
            Ok(_) => Ok(()),
            Err(why) => Err(format!("its answer has {why}; only unary calls are recorded")),
        },
        _ => Ok(()),
    }
}

/// `gzip`, if that is what the answer is written in.
fn coding_of(answer: &Answer) -> Option<String> {
    let coding = String::from_utf8_lossy(answer.headers.get(CONTENT_ENCODING)?.as_bytes()).into_owned();
    (!coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).then_some(coding)
}

fn name_of(exchange: &Recorded) -> String {
    let Request { method, path, .. } = &exchange.request;
    let name = exchange.name.clone().unwrap_or_else(|| format!("{method} {}", path.path()));
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    if name.trim().is_empty() { method.to_string() } else { name }
}

/// OK, INVALID_ARGUMENT, NOT_FOUND.
const GRPC_KEPT: [u32; 3] = [0, 3, 5];
/// Room is left for a number behind it.
const NAME_CHARS_MAX: usize = 150;
/// In JSON it can double, and the admin API's answers end at 64 MiB.
const TEXT_BYTES_MAX: usize = 30 << 20;
