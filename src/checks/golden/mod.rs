//! Golden requests: a file of requests with what their answers must be like. Pure: nothing here sends anything.
//!
//! Flow: [`Set::read`] → for each of [`Set::cases`], whoever sends takes [`Case::request`], brings an [`Answer`] within
//! [`Case::timeout`] and [`Case::answer_bytes_max`], and asks [`Case::judge`] → [`Set::tally`] says whether enough passed.
//! The other way round, [`Set::record`] writes such a file from requests and the answers that were given to them.
//!
//! Invariants: a file is right as a whole or every problem of it is told with line, column, key, reason and hint; every
//! list, text and number that comes from outside is bounded; an answer can fail, never panic; evidence is one line.
//! Never: sending, clocks, moving traffic, the words of the admin API.

mod answer;
mod case;
mod evidence;
mod expect;
mod fields;
mod file;
mod given;
mod grpc;
mod reader;
mod record;
mod request;
mod settings;
mod stream;
mod tensor;
mod verdict;
mod view;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerEnd, Arrival};
pub use case::Case;
pub(super) use evidence::{cut, one_line};
pub use file::Set;
pub use given::Given;
pub use grpc::{ModelMetadata, TensorMetadata};
pub use record::{CREDENTIALS, LeftOut, Recorded, Recorder, Recording, Redaction};
pub use request::{Request, RequestKind};
pub use stream::{SseError, SseEvent, SseParser};
pub use verdict::{Failure, Need, Outcome, Tally, Verdict};
