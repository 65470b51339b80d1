//! A tap and its tees, without the proxy round them.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, request::Parts};

use super::{CopyBounds, Omission, Outlet, Taps, Tee, Wanted};
use crate::{
    ids::{ServiceName, Slot},
    upstream::Witness as _,
};

const BOUNDS: CopyBounds =
    CopyBounds { request_bytes_max: 10, answer_bytes_max: 20, bytes_max: 10_000, at_once_max: 3, waiting_max: 4 };
/// What the time of one part of an answer counts.
const ARRIVAL: usize = size_of::<(usize, Duration)>();

fn head() -> Parts {
    let builder = Request::post("/v1/x?y").header("authorization", "secret").header("x-a", "1");
    builder.body(()).unwrap().into_parts().0
}

fn iris() -> ServiceName {
    "iris".parse().unwrap()
}

fn open(taps: &Taps, wanted: Wanted) -> Outlet {
    open_within(taps, wanted, BOUNDS)
}

fn open_within(taps: &Taps, wanted: Wanted, bounds: CopyBounds) -> Outlet {
    let without = vec![HeaderName::from_static("authorization")];
    taps.open((&iris(), Slot::Blue), wanted, without, bounds).unwrap()
}

/// What the tap's copies may still hold.
fn left(taps: &Taps) -> usize {
    taps.reader().find(&iris(), Slot::Blue).unwrap().budget.left()
}

/// What a copy of `head()` counts before anything has come behind it.
fn head_bytes() -> usize {
    let taps = Taps::default();
    let _outlet = open(&taps, Wanted::default());
    let _tee = tee(&taps).unwrap();
    BOUNDS.bytes_max - left(&taps)
}

fn tee(taps: &Taps) -> Option<Rc<Tee>> {
    taps.reader().find(&iris(), Slot::Blue)?.tee(&head(), false)
}

/// One exchange, from its head to its end.
fn play(tee: &Tee, request: &'static str, answer: &'static str) {
    tee.data(&Bytes::from_static(request.as_bytes()));
    tee.ended();
    tee.answer(200, &HeaderMap::new());
    tee.answer_data(&Bytes::from_static(answer.as_bytes()));
    tee.finish();
}

/// Fails when: a part of an exchange is not copied, or a field that is to be left out is.
#[tokio::test]
async fn an_exchange_is_copied_as_a_whole() {
    let taps = Taps::default();
    let mut outlet = open(&taps, Wanted::default());
    let one = tee(&taps).unwrap();
    play(&one, "hello", "world");
    let copy = outlet.draw().await.unwrap();
    assert_eq!((copy.method.as_str(), copy.path.as_str(), copy.status), ("POST", "/v1/x?y", 200));
    assert_eq!((&copy.body[..], &copy.answer_body[..]), (&b"hello"[..], &b"world"[..]));
    assert!(copy.headers.contains_key("x-a") && !copy.headers.contains_key("authorization"));
    assert_eq!(copy.arrivals.iter().map(|(until, _)| *until).collect::<Vec<_>>(), [5]);
    assert_eq!(outlet.counts().omitted, []);
}

/// Fails when: a bound does not hold, or what it left out is not counted with the reason.
#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let taps = Taps::default();
    // Room for three heads and for two of the three answers.
    let bytes_max = 3 * (head_bytes() + ARRIVAL) + 45;
    let outlet = open_within(&taps, Wanted::default(), CopyBounds { bytes_max, ..BOUNDS });
    play(&tee(&taps).unwrap(), "01234567890", "");
    play(&tee(&taps).unwrap(), "", "012345678901234567890");
    drop(tee(&taps).unwrap());
    let early = tee(&taps).unwrap();
    early.data(&Bytes::from_static(b"half"));
    early.finish();
    drop(early);
    assert!(taps.reader().find(&iris(), Slot::Blue).unwrap().tee(&head(), true).is_none());
    let full: Vec<_> = (0..3).map(|_| tee(&taps).unwrap()).collect();
    assert!(tee(&taps).is_none());
    for (one, answer) in full.iter().zip(["01234567890123456789", "01234567890123456789", "0123456"]) {
        one.answer_data(&Bytes::from_static(answer.as_bytes()));
    }
    drop(full);
    let omitted = outlet.counts().omitted;
    let expected = [
        (Omission::RequestTooLong, 1),
        (Omission::AnswerTooLong, 1),
        (Omission::NoMemory, 1),
        (Omission::Crowded, 1),
        (Omission::Upgrade, 1),
        (Omission::Broken, 4),
    ];
    assert_eq!(omitted, expected);
}

/// Fails when: bytes or places of copies that are gone are not given back.
#[tokio::test]
async fn what_is_drawn_makes_room() {
    let taps = Taps::default();
    let mut outlet = open(&taps, Wanted::default());
    for _ in 0..20 {
        play(&tee(&taps).unwrap(), "0123456789", "01234567890123456789");
        outlet.draw().await.unwrap();
    }
    assert_eq!((outlet.counts().omitted, left(&taps)), (vec![], BOUNDS.bytes_max));
}

/// Fails when: what finds the outlet full is not counted, or holds its place.
#[tokio::test]
async fn what_finds_the_outlet_full_is_counted() {
    let taps = Taps::default();
    let mut outlet = open(&taps, Wanted::default());
    let play_some = || (0..BOUNDS.waiting_max + 2).for_each(|_| play(&tee(&taps).unwrap(), "", ""));
    for round in 1..3 {
        play_some();
        assert_eq!(outlet.counts().omitted, [(Omission::Undrawn, 2 * round)]);
        for _ in 0..BOUNDS.waiting_max {
            outlet.draw().await.unwrap();
        }
        assert_eq!(left(&taps), BOUNDS.bytes_max);
    }
}

/// Fails when: a part of an exchange that is kept in memory does not count, or what does not fit is kept, told as whole, or
/// not told.
#[test]
fn all_that_is_kept_counts() {
    let fields = |name: &'static str, bytes: usize| {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(&"x".repeat(bytes)).unwrap())])
    };
    let taps = Taps::default();
    let outlet = open(&taps, Wanted::default());
    let one = tee(&taps).unwrap();
    let mut before = left(&taps);
    assert!(before < BOUNDS.bytes_max - "/v1/x?y".len() - "x-a1".len(), "the head");
    let mut taken = || {
        let taken = before - left(&taps);
        before -= taken;
        taken
    };
    one.data(&Bytes::from_static(b"hello"));
    assert_eq!(taken(), 5, "the request's body");
    one.answer(200, &fields("x-head", 500));
    assert!((500..1_000).contains(&taken()), "the answer's head");
    one.answer_data(&Bytes::from_static(b"world"));
    assert_eq!(taken(), 5 + ARRIVAL, "the answer's body, and when it came");
    one.answer_trailers(&fields("x-trailer", 500));
    assert!((500..1_000).contains(&taken()), "trailers");
    drop(one);
    assert_eq!((left(&taps), outlet.counts().omitted), (BOUNDS.bytes_max, vec![(Omission::Broken, 1)]));

    drop(outlet);
    for (bytes_max, step) in
        [(head_bytes() - 1, "head"), (head_bytes() + 100, "answer"), (head_bytes() + 700, "trailer")]
    {
        let outlet = open_within(&taps, Wanted::default(), CopyBounds { bytes_max, ..BOUNDS });
        let one = tee(&taps).unwrap();
        one.ended();
        one.answer(200, &fields("x-head", 500));
        one.answer_trailers(&fields("x-trailer", 500));
        one.finish();
        assert_eq!(outlet.counts().omitted, [(Omission::NoMemory, 1)], "{step}");
        assert_eq!(left(&taps), bytes_max, "{step}");
        drop(one);
        assert_eq!(outlet.counts().omitted, [(Omission::NoMemory, 1)], "{step}: told once");
    }
}

/// Fails when: a tap outlives its outlet, two are on one slot, or a copy goes on without anybody who wants it.
#[test]
fn a_tap_ends_with_its_outlet() {
    let taps = Taps::default();
    let outlet = open(&taps, Wanted::default());
    let again = taps.open((&iris(), Slot::Blue), Wanted::default(), Vec::new(), BOUNDS);
    assert!(again.is_none());
    assert!(taps.reader().find(&iris(), Slot::Green).is_none());
    let tap = taps.reader().find(&iris(), Slot::Blue).unwrap();
    let open_ended = tee(&taps).unwrap();
    assert_eq!(outlet.counts().omitted, [(Omission::Unfinished, 1)]);
    drop(outlet);
    assert_eq!(taps.count(), 0);
    assert!(tee(&taps).is_none() && tap.tee(&head(), false).is_none());
    open_ended.answer_data(&Bytes::from_static(b"x"));
    assert_eq!(tap.budget.left(), BOUNDS.bytes_max);
    drop(open(&taps, Wanted::default()));
}

/// Fails when: sampling takes others than every so many-th of the wanted.
#[test]
fn every_third_is_copied() {
    let taps = Taps::default();
    let outlet = open(&taps, Wanted { every: 3, ..Wanted::default() });
    let taken: Vec<_> = (0..7).map(|_| tee(&taps).is_some()).collect();
    assert_eq!(taken, [true, false, false, true, false, false, true]);
    assert_eq!((outlet.counts().seen, outlet.counts().matching), (7, 7));
}
