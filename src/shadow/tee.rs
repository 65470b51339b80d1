//! The copy of one exchange in the making. It lives on the worker's thread, beside what it copies.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_LENGTH, request::Parts, uri::PathAndQuery};

use super::{
    copied::{Copied, size_of_fields},
    omission::Omission,
    tap::Tap,
};
use crate::upstream::Witness;

/// Copies one exchange as it passes; see the room.
#[derive(Debug)]
pub struct Tee {
    tap: Arc<Tap>,
    started: Instant,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once it was given up, or given away.
    copy: Option<Copied>,
    request_ended: bool,
}

impl Tee {
    /// `headers` are what is to be copied of the head's.
    pub(super) fn begin(tap: Arc<Tap>, head: &Parts, headers: HeaderMap) -> Rc<Self> {
        let copy = Copied {
            method: head.method.clone(),
            path: head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers,
            body: BytesMut::new(),
            status: 0,
            answer_headers: HeaderMap::new(),
            answer_body: BytesMut::new(),
            answer_trailers: HeaderMap::new(),
            arrivals: Vec::new(),
            took: Duration::ZERO,
            reserved: tap.budget.reserve(),
        };
        let bytes = copy.path.as_str().len() + size_of_fields(&copy.headers);
        let state = RefCell::new(State { copy: Some(copy), request_ended: false });
        let tee = Rc::new(Self { tap, started: Instant::now(), state });
        tee.keep(|copy| copy.charge(bytes));
        tee
    }

    /// It was begun by this tap.
    pub fn is_of(&self, tap: &Arc<Tap>) -> bool {
        Arc::ptr_eq(&self.tap, tap)
    }

    /// The head of the final answer, as the server sent it.
    pub fn answer(&self, status: u16, headers: &HeaderMap) {
        self.keep(|copy| {
            copy.charge(size_of_fields(headers))?;
            copy.status = status;
            copy.answer_headers.clone_from(headers);
            Ok(())
        });
    }

    /// A part of the answer's body.
    pub fn answer_data(&self, data: &Bytes) {
        let (most, elapsed) = (self.tap.bounds.answer_bytes_max, self.started.elapsed());
        self.keep(|copy| {
            fits(&copy.answer_body, data, most, Omission::AnswerTooLong)?;
            // A stream of tiny parts must not cost more to time than to keep.
            let is_timed = copy.arrivals.len() < ARRIVALS_MAX;
            copy.charge(data.len() + if is_timed { size_of::<(usize, Duration)>() } else { 0 })?;
            copy.answer_body.extend_from_slice(data);
            if !is_timed {
                copy.arrivals.pop();
            }
            copy.arrivals.push((copy.answer_body.len(), elapsed));
            Ok(())
        });
    }

    pub fn answer_trailers(&self, trailers: &HeaderMap) {
        self.keep(|copy| {
            copy.charge(size_of_fields(trailers))?;
            copy.answer_trailers.clone_from(trailers);
            Ok(())
        });
    }

    /// The answer is complete. The exchange is, too, if its request has been.
    pub fn finish(&self) {
        let mut state = self.state.borrow_mut();
        let request_ended = state.request_ended;
        if let Some(mut copy) = state.copy.take_if(|copy| request_ended || copy.has_its_length()) {
            copy.took = self.started.elapsed();
            self.leave();
            self.tap.give(copy);
        }
    }

    /// It is not to be copied after all.
    pub fn give_up(&self, why: Omission) {
        if self.state.borrow_mut().copy.take().is_some() {
            self.leave();
            // What nobody waits for any more is not missed.
            if !self.tap.is_closed() {
                self.tap.omit(why);
            }
        }
    }

    fn leave(&self) {
        self.tap.open.fetch_sub(1, Relaxed);
    }

    /// Keeps a part, or gives the copy up with the reason why it cannot be kept.
    fn keep(&self, part: impl FnOnce(&mut Copied) -> Result<(), Omission>) {
        let is_closed = self.tap.is_closed();
        let kept = match &mut self.state.borrow_mut().copy {
            Some(_) if is_closed => Err(Omission::Unfinished),
            Some(copy) => part(copy),
            None => Ok(()),
        };
        if let Err(why) = kept {
            self.give_up(why);
        }
    }
}

/// The body has room for the data.
fn fits(body: &[u8], data: &Bytes, most: usize, too_long: Omission) -> Result<(), Omission> {
    if body.len() + data.len() > most { Err(too_long) } else { Ok(()) }
}

impl Copied {
    /// Counts what is about to be kept against the tap's limit.
    fn charge(&mut self, bytes: usize) -> Result<(), Omission> {
        if self.reserved.take(bytes) { Ok(()) } else { Err(Omission::NoMemory) }
    }

    /// Over HTTP/1.1 nobody asks for the end of a body that is as long as its head says.
    fn has_its_length(&self) -> bool {
        let told = self.headers.get(CONTENT_LENGTH).and_then(|told| told.to_str().ok()?.parse().ok());
        told == Some(self.body.len())
    }
}

impl Witness for Tee {
    fn data(&self, data: &Bytes) {
        let most = self.tap.bounds.request_bytes_max;
        self.keep(|copy| {
            fits(&copy.body, data, most, Omission::RequestTooLong)?;
            copy.charge(data.len())?;
            copy.body.extend_from_slice(data);
            Ok(())
        });
    }

    fn ended(&self) {
        self.state.borrow_mut().request_ended = true;
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.give_up(Omission::Broken);
    }
}

const ARRIVALS_MAX: usize = 16_384;
