//! The token stream: a sentence about one flower, a word at a time, as Server-Sent Events.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    HASTE,
    classifier::{Classification, Features, SPECIES, Version},
    protocol::{NAME, Token},
};

/// Between two words; some forty of them make a stream of two seconds, longer than the script waits anywhere.
const WORD_EVERY: Duration = Duration::from_millis(50 / HASTE);

/// The event that ends a stream which is whole.
pub(super) const DONE: &str = "[DONE]";

/// A response body that speaks one event per tick. Dropping it (the client hung up) ends the generation at once.
#[derive(Debug)]
pub(super) struct TokenStream {
    /// Reversed, so that the next event is popped off the end.
    events_left: Vec<Bytes>,
    clock: Interval,
}

impl TokenStream {
    /// The first word goes out at once.
    pub(super) fn new(version: Version, features: &Features, said: &Classification) -> Self {
        let mut events_left = events(version, &sentence(version, features, said));
        events_left.reverse();
        let mut clock = interval(WORD_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { events_left, clock }
    }
}

impl Body for TokenStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.events_left.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.clock.poll_tick(cx));
        Poll::Ready(self.events_left.pop().map(|event| Ok(Frame::data(event))))
    }
}

/// Each word is one event; the last event goes out together with `[DONE]`'s own.
fn events(version: Version, sentence: &str) -> Vec<Bytes> {
    let token = |(index, word): (usize, &str)| Token {
        model_name: NAME.to_owned(),
        model_version: version.as_str().to_owned(),
        index,
        text_output: word.to_owned(),
    };
    let words = sentence.split_inclusive(' ').enumerate().map(token);
    let data = words.map(|token| format!("data: {}\n\n", serde_json::json!(token)));
    data.chain([format!("data: {DONE}\n\n")]).map(Bytes::from).collect()
}

fn sentence(version: Version, features: &Features, said: &Classification) -> String {
    let [sepal_length, sepal_width, petal_length, petal_width] = features;
    let percent = said.probabilities[said.label] * 100.0;
    let looked_at = match version {
        Version::One => "although I have looked at nothing but the sepals",
        Version::Two => "and I have looked at the sepals and the petals",
    };
    format!(
        "A flower with sepals of {sepal_length} by {sepal_width} cm and petals of {petal_length} by {petal_width} cm \
         is most likely an iris {species}: I am {percent:.0} percent sure, {looked_at}. Yours, version {version}.",
        species = SPECIES[said.label],
        version = version.as_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{classifier::classify, iris::flower};

    #[test]
    fn a_stream_has_about_forty_tokens_and_ends_with_done() {
        for version in Version::BOTH {
            let features = flower(60).features;
            let said = classify(version, &features);
            let events = events(version, &sentence(version, &features, &said));
            assert!((36..=44).contains(&events.len()), "{} events", events.len());
            assert_eq!(events.last().unwrap().as_ref(), b"data: [DONE]\n\n");
            assert!(events[0].starts_with(b"data: {"));
        }
    }
}
