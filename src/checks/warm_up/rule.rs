//! When an endpoint is warm: windows of answers in, a verdict out. Pure; `docs/gate.md` has the rule in words.

use std::{fmt::Write as _, time::Duration};

/// Requests that were sent so many at once, and how long their answers took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) at_once: usize,
    pub(super) answers: usize,
    pub(super) median: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet: a window of so many at once comes next.
    Ask(usize),
    Warm,
    /// The time is over, or long enough was looked, and nothing says that the endpoint is cold; what was seen.
    Unsettled(String),
    /// The time is over, and it is cold; what was seen.
    Cold(String),
}

impl Window {
    /// What these answers come to; the upper median, so that the same requests in each window weigh the same. `None` of
    /// no answers.
    pub(super) fn of(at_once: usize, mut took: Vec<Duration>) -> Option<Self> {
        took.sort_unstable();
        let median = *took.get(took.len() / 2)?;
        Some(Self { at_once, answers: took.len(), median })
    }

    /// A window that ended with the time. Half of its answers will do; of fewer, those that are `open` count with the
    /// time they have taken so far, which proves a server slow and never quick.
    pub(super) fn of_a_part(
        at_once: usize,
        planned: usize,
        took: Vec<Duration>,
        open: &[Duration],
        before: Option<&Self>,
    ) -> Option<Self> {
        let answers = took.len();
        if answers * 2 >= planned {
            return Self::of(at_once, took);
        }
        let window = Self::of(at_once, [took.as_slice(), open].concat())?;
        before.filter(|before| window.median > before.median).map(|_| Self { answers, ..window })
    }
}

/// What these windows, in the order they were taken, say of an endpoint that is to take `top` requests at once.
pub(super) fn judge(windows: &[Window], top: usize, is_over: bool) -> Verdict {
    if is_flat(windows, top) {
        Verdict::Warm
    } else if is_over {
        at_the_end(windows, top)
    } else if has_settled(windows, top)
        && let unsettled @ Verdict::Unsettled(_) = at_the_end(windows, top)
    {
        unsettled
    } else {
        Verdict::Ask(windows.last().map_or(1, |last| (last.at_once * 2).min(top)))
    }
}

/// The last windows, all of them at the highest concurrency, have medians close to each other.
fn is_flat(windows: &[Window], top: usize) -> bool {
    let Some(last) = windows.last_chunk::<FLAT_WINDOWS>() else { return false };
    let medians = || last.iter().map(|window| window.median);
    let (Some(least), Some(most)) = (medians().min(), medians().max()) else { return false };
    last.iter().all(|window| window.at_once == top) && !is_clearly_above(most, least)
}

/// Many windows at the highest concurrency, and those of the later half are no quicker than those of the earlier: what keeps
/// them apart is noise, and to look on would teach nothing.
fn has_settled(windows: &[Window], top: usize) -> bool {
    let Some(last) = windows.last_chunk::<{ 2 * HALF_WINDOWS }>() else { return false };
    let halves = last.split_at(HALF_WINDOWS);
    let sorted = |half: &[Window]| {
        let mut medians: Vec<_> = half.iter().map(|window| window.median).collect();
        medians.sort_unstable();
        medians
    };
    let (earlier, later) = (sorted(halves.0), sorted(halves.1));
    let is_quicker = |place: usize| is_clearly_above(earlier[place], later[place]);
    last.iter().all(|window| window.at_once == top) && !is_quicker(0) && !is_quicker(HALF_WINDOWS / 2)
}

fn at_the_end(windows: &[Window], top: usize) -> Verdict {
    let answers: usize = windows.iter().map(|window| window.answers).sum();
    let Some((last, before)) = windows.split_last().filter(|_| answers >= ANSWERS_MIN) else {
        return Verdict::Cold(match answers {
            0 => "nothing was answered".to_owned(),
            1 => "a single request was answered".to_owned(),
            some => format!("only {some} requests were answered"),
        });
    };
    let peers: Vec<_> = before.iter().copied().filter(|window| window.at_once == last.at_once).collect();
    let compared = if peers.is_empty() { before } else { peers.as_slice() };
    let seen = in_words(windows);
    if !compared.is_empty() && compared.iter().all(|window| is_clearly_above(window.median, last.median)) {
        return Verdict::Cold(format!("the answers were still becoming faster: {seen}"));
    }
    // A server that works on one request at a time takes twice as long for twice as many.
    let scaled = |window: &Window| window.median * at_least_one(last.at_once / window.at_once.max(1));
    if let Some(best) = before.iter().map(scaled).min().filter(|best| is_far_above(last.median, *best)) {
        return Verdict::Cold(format!("the last answers took far longer than the {} of before: {seen}", in_ms(best)));
    }
    let at_top = windows.iter().filter(|window| window.at_once == top).count();
    if at_top < FLAT_WINDOWS {
        return Verdict::Unsettled(format!("too few answers to tell, but none that speaks against it: {seen}"));
    }
    Verdict::Unsettled(format!("the answers came unevenly, but no longer faster: {seen}"))
}

fn at_least_one(factor: usize) -> u32 {
    u32::try_from(factor).unwrap_or(u32::MAX).max(1)
}

fn is_clearly_above(more: Duration, less: Duration) -> bool {
    more > less.mul_f64(1.0 + FLAT_SHARE) && more.saturating_sub(less) >= FLAT_DIFFERENCE
}

fn is_far_above(more: Duration, less: Duration) -> bool {
    more > less * FAR_FACTOR && more.saturating_sub(less) >= FAR_DIFFERENCE
}

/// `1 at once: 301 ms; 2 at once: 300 ms; 8 at once: 42 ms, 41 ms, 41 ms`, without the oldest of many.
pub(super) fn in_words(windows: &[Window]) -> String {
    let mut text = String::new();
    for group in windows.chunk_by(|one, next| one.at_once == next.at_once) {
        let Some(first) = group.first() else { continue };
        let shown = &group[group.len().saturating_sub(SHOWN_MAX)..];
        let medians: Vec<_> = shown.iter().map(|window| in_ms(window.median)).collect();
        let (gap, left_out) =
            (if text.is_empty() { "" } else { "; " }, if shown.len() < group.len() { "…, " } else { "" });
        let _infallible = write!(text, "{gap}{} at once: {left_out}{}", first.at_once, medians.join(", "));
    }
    text
}

/// `41 ms`, or `0.4 ms` of what is quick.
pub(super) fn in_ms(took: Duration) -> String {
    let decimals = if took < Duration::from_millis(10) { 1 } else { 0 };
    format!("{:.decimals$} ms", took.as_secs_f64() * 1000.0)
}

/// So many windows must agree.
const FLAT_WINDOWS: usize = 3;
/// So many windows are compared with as many after them, by the best and by the middle one of each.
const HALF_WINDOWS: usize = 5;
/// Medians within this share of the least are the same, …
const FLAT_SHARE: f64 = 0.15;
/// … and so are those that differ by less than a clock and a scheduler can tell.
const FLAT_DIFFERENCE: Duration = Duration::from_millis(1);
/// So many times the best is no noise, …
const FAR_FACTOR: u32 = 4;
/// … if it is more than a busy machine does to a server that answers at once.
const FAR_DIFFERENCE: Duration = Duration::from_millis(50);
/// Fewer answers say nothing.
const ANSWERS_MIN: usize = 3;
/// Windows of one concurrency that a line shows.
const SHOWN_MAX: usize = 5;
