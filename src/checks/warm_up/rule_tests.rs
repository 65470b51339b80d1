//! The rule, by tables of windows: `8:41` is a window at 8 requests at once whose answers took 41 ms.

use std::time::Duration;

use super::rule::{Verdict, Window, in_words, judge};

const TOP: usize = 8;

/// Windows of eight answers each.
fn windows(text: &str) -> Vec<Window> {
    let window = |word: &str| {
        let (at_once, millis) = word.split_once(':').unwrap();
        let median = Duration::from_secs_f64(millis.parse::<f64>().unwrap() / 1000.0);
        Window { at_once: at_once.parse().unwrap(), answers: 8, median }
    };
    text.split_whitespace().map(window).collect()
}

/// Fails when: the concurrency does not double, rises beyond the highest, or begins above one.
#[test]
fn the_concurrency_doubles_up_to_the_highest() {
    for (before, top, next) in
        [("", 8, 1), ("1:300", 8, 2), ("1:300 2:290", 8, 4), ("4:1", 6, 6), ("6:1", 6, 6), ("", 1, 1), ("1:9", 1, 1)]
    {
        assert_eq!(judge(&windows(before), top, false), Verdict::Ask(next), "{before} of {top}");
    }
}

/// Fails when: fewer than three windows are enough, windows below the highest concurrency count, the share is another
/// one, or what differs by less than a millisecond is taken for a difference.
#[test]
fn three_windows_at_the_highest_concurrency_that_agree_are_warm() {
    for (seen, warm) in [
        ("8:41 8:41 8:41", true),
        ("8:100 8:115 8:108", true),
        ("8:100 8:116 8:108", false),
        ("8:100 8:100", false),
        ("4:41 8:41 8:41", false),
        ("1:300 2:300 4:300 8:300 8:41 8:42 8:40", true),
        ("8:0.2 8:1.1 8:0.5", true),
        ("8:0.2 8:1.3 8:0.5", false),
        ("8:300 8:300 8:300 8:41", false),
    ] {
        assert_eq!(judge(&windows(seen), TOP, false) == Verdict::Warm, warm, "{seen}");
        assert_eq!(judge(&windows(seen), TOP, true) == Verdict::Warm, warm, "{seen}, at the end");
    }
}

/// Fails when: at the end, an endpoint that answers nothing, is becoming faster or hangs is let through.
#[test]
fn at_the_end_what_is_cold_is_told() {
    for (seen, reason) in [
        ("", "nothing was answered"),
        ("1:300 2:120", "the answers were still becoming faster: 1 at once: 300 ms; 2 at once: 120 ms"),
        ("8:300 8:200 8:120", "still becoming faster"),
        ("1:300 2:300 4:300 8:300 8:100", "still becoming faster"),
        ("8:41 8:41 8:900", "the last answers took far longer than the 41 ms of before"),
        ("1:5 8:2000", "the last answers took far longer than the 40 ms of before"),
    ] {
        match judge(&windows(seen), TOP, true) {
            Verdict::Cold(why) => assert!(why.contains(reason), "{seen}: {why}"),
            other => panic!("{seen}: {other:?}"),
        }
    }
    let few = [Window { at_once: 1, answers: 2, median: Duration::from_secs(9) }];
    assert_eq!(judge(&few, TOP, true), Verdict::Cold("only 2 requests were answered".to_owned()));
}

/// Fails when: at the end, noise is taken for cold: a window that was disturbed, answers that queue, a slow model.
#[test]
fn at_the_end_what_is_merely_noisy_passes() {
    for (seen, reason) in [
        ("8:41 8:60 8:45", "came unevenly"),
        ("8:41 8:79 8:41 8:60", "came unevenly"),
        ("8:60 8:41 8:90 8:50", "came unevenly"),
        ("1:5000 2:5000 4:5000", "too few answers to tell"),
        ("1:40 2:80 4:160 8:320", "too few answers to tell"),
        ("8:1 8:4 8:2", "came unevenly"),
        ("8:1 8:0.3 8:40", "came unevenly"),
        ("8:41 8:41 8:150", "came unevenly"),
    ] {
        match judge(&windows(seen), TOP, true) {
            Verdict::Unsettled(why) => assert!(why.contains(reason), "{seen}: {why}"),
            other => panic!("{seen}: {other:?}"),
        }
    }
}

/// Fails when: noise is waited out to the end of the time, or what still becomes faster, was seen too seldom or hangs is taken
/// for noise.
#[test]
fn noise_does_not_take_all_the_time() {
    for (seen, settled) in [
        ("8:3 8:13 8:21 8:3 8:9 8:4 8:12 8:3 8:20 8:9", true),
        ("8:3 8:13 8:21 8:3 8:9 8:4 8:12 8:3 8:20", false),
        ("4:3 8:13 8:21 8:3 8:9 8:4 8:12 8:3 8:20 8:9", false),
        ("8:90 8:150 8:80 8:140 8:85 8:60 8:99 8:50 8:98 8:45", false),
        ("8:90 8:150 8:80 8:140 8:100 8:90 8:80 8:81 8:200 8:85", false),
        ("8:3 8:13 8:21 8:3 8:9 8:4 8:12 8:3 8:20 8:900", false),
    ] {
        let verdict = judge(&windows(seen), TOP, false);
        assert_eq!(matches!(verdict, Verdict::Unsettled(_)), settled, "{seen}: {verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Ask(_)), !settled, "{seen}: {verdict:?}");
    }
}

/// Fails when: a median is not the middle one, or windows are told without end.
#[test]
fn windows_are_made_and_told() {
    let millis = |all: &[u64]| all.iter().copied().map(Duration::from_millis).collect();
    assert_eq!(Window::of(2, millis(&[300, 1, 2])).unwrap().median, Duration::from_millis(2));
    assert_eq!(Window::of(2, millis(&[1, 9])).unwrap().median, Duration::from_millis(9));
    assert_eq!(Window::of(2, Vec::new()), None);
    assert_eq!(in_words(&windows("1:301 8:0.42 8:9.96")), "1 at once: 301 ms; 8 at once: 0.4 ms, 10.0 ms");
    assert_eq!(in_words(&windows(&"8:41 ".repeat(99))), "8 at once: …, 41 ms, 41 ms, 41 ms, 41 ms, 41 ms");
}

/// Fails when: a window that the end has cut makes a server look quicker than it is, or a server that hangs is not seen.
#[test]
fn a_window_that_was_cut_proves_only_slowness() {
    let millis = |all: &[u64]| all.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
    let before = windows("8:40");
    let part = |took: &[u64], open: &[u64]| Window::of_a_part(8, 8, millis(took), &millis(open), before.first());
    assert_eq!(part(&[40, 41, 42, 43], &[1, 1, 1, 1]).unwrap().median, Duration::from_millis(42), "half is enough");
    assert_eq!(part(&[], &[2; 8]), None, "they have only begun");
    let hung = part(&[40], &[900; 7]).unwrap();
    assert_eq!((hung.median, hung.answers), (Duration::from_millis(900), 1));
    assert_eq!(Window::of_a_part(1, 8, Vec::new(), &millis(&[900]), None), None, "nothing to compare with");
}
