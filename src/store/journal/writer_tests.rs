use super::*;
use crate::store::samples::{dir, name, switched};

fn open(dir: &Path) -> (Journal, Vec<HistoryEntry>, Vec<String>) {
    let (mut notes, mut seen) = (Vec::new(), Vec::new());
    let journal = Journal::open(dir, &mut notes, &mut |entry| seen.push(entry.clone())).unwrap();
    (journal, seen, notes)
}

fn newest(journal: &Journal, service: &str, limit: usize) -> Vec<HistoryEntry> {
    journal.pages().unwrap().newest(&name(service), limit).unwrap()
}

#[test]
fn history_is_newest_first_per_service_and_bounded() {
    let dir = dir();
    let (mut journal, seen, notes) = open(dir.path());
    assert!(seen.is_empty() && notes.is_empty() && newest(&journal, "iris", 9).is_empty());
    journal.append(&[switched("iris", 1), switched("rose", 1), switched("iris", 2)]).unwrap();
    journal.append(&[]).unwrap();
    journal.append(&[switched("iris", 3)]).unwrap();
    assert_eq!(newest(&journal, "iris", 9), [switched("iris", 3), switched("iris", 2), switched("iris", 1)]);
    assert_eq!(newest(&journal, "iris", 2), [switched("iris", 3), switched("iris", 2)]);
    assert_eq!(newest(&journal, "rose", 1), [switched("rose", 1)]);
    assert!(newest(&journal, "iris", 0).is_empty() && newest(&journal, "none", 9).is_empty());
}

#[test]
fn a_journal_cut_at_any_byte_keeps_every_entry_before_the_cut() {
    let dir = dir();
    let entries = [switched("iris", 1), switched("iris", 2), switched("iris", 3)];
    let (mut journal, ..) = open(dir.path());
    journal.append(&entries).unwrap();
    let path = journal.files.current();
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let kept = whole[..len].iter().filter(|&&byte| byte == b'\n').count();
        let at_line_end = len == 0 || whole[len - 1] == b'\n';
        let (mut journal, seen, notes) = open(dir.path());
        assert_eq!((seen.as_slice(), notes.is_empty()), (&entries[..kept], at_line_end), "cut at {len}");
        journal.append(&[switched("iris", 9)]).unwrap();
        let (journal, seen, notes) = open(dir.path());
        assert_eq!((seen.len(), seen.last(), notes.len()), (kept + 1, Some(&switched("iris", 9)), 0));
        assert_eq!(newest(&journal, "iris", 9).len(), kept + 1);
    }
}

#[test]
fn a_flipped_byte_costs_its_line_or_two_and_is_noted() {
    let dir = dir();
    let entries: Vec<HistoryEntry> = (1..5).map(|generation| switched("iris", generation)).collect();
    let (mut journal, ..) = open(dir.path());
    journal.append(&entries).unwrap();
    let path = journal.files.current();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let hit = whole[..at].iter().filter(|&&byte| byte == b'\n').count();
        let newline = usize::from(whole[at] == b'\n');
        let (_, seen, notes) = open(dir.path());
        let expected: Vec<_> =
            entries.iter().enumerate().filter(|&(line, _)| !(hit..=hit + newline).contains(&line)).collect();
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected.iter().map(|&(_, entry)| entry).collect::<Vec<_>>());
        assert_eq!(notes.len(), 1, "byte {at}: {notes:?}");
    }
}

#[test]
fn rotten_and_foreign_lines_are_kept_and_noted() {
    let dir = dir();
    let foreign = crate::store::seal::seal("entry", r#"{"action":"teleport"}"#);
    let good = line::encode(&[switched("iris", 1)]).unwrap();
    let text = format!("{good}rot\n{good}{foreign}");
    fs::write(dir.path().join("journal.jsonl"), &text).unwrap();
    let (journal, seen, notes) = open(dir.path());
    assert_eq!((seen.len(), newest(&journal, "iris", 9).len(), notes.len()), (2, 2, 2), "{notes:?}");
    assert!(notes[0].contains("1 unreadable line(s), the first is line 2"), "{notes:?}");
    assert!(notes[1].contains("1 line(s) of a newer verdigris"), "{notes:?}");
    assert_eq!(fs::read_to_string(dir.path().join("journal.jsonl")).unwrap(), text);
}

#[test]
fn history_reads_across_rotated_files() {
    let dir = dir();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[switched("iris", 1)]).unwrap();
    // Two entries to a file, and one more file than is kept.
    journal.rotate_bytes = journal.tail.len() * 3 / 2;
    for generation in 2..=12 {
        journal.append(&[switched("iris", generation)]).unwrap();
    }
    let expected: Vec<HistoryEntry> = (3..=12).rev().map(|generation| switched("iris", generation)).collect();
    assert_eq!(newest(&journal, "iris", 99), expected);
    assert_eq!(newest(&journal, "iris", 3), expected[..3]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
    let (_, mut seen, notes) = open(dir.path());
    seen.reverse();
    assert_eq!((seen, notes.len()), (expected, 0));
}

#[test]
fn history_that_began_before_a_rotation_sees_what_was() {
    let dir = dir();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[switched("iris", 1)]).unwrap();
    let pages = journal.pages().unwrap();
    journal.rotate_bytes = 1;
    journal.append(&[switched("iris", 2)]).unwrap();
    assert_eq!(pages.newest(&name("iris"), 9).unwrap(), [switched("iris", 1)]);
}

#[test]
fn a_journal_that_cannot_be_rotated_goes_on() {
    let dir = dir();
    let (mut journal, ..) = open(dir.path());
    journal.rotate_bytes = 1;
    fs::create_dir(dir.path().join("journal.jsonl.tmp")).unwrap();
    for generation in 1..=3 {
        journal.append(&[switched("iris", generation)]).unwrap();
    }
    assert_eq!(newest(&journal, "iris", 9).len(), 3);
    fs::remove_dir(dir.path().join("journal.jsonl.tmp")).unwrap();
    journal.append(&[switched("iris", 4)]).unwrap();
    assert_eq!(newest(&journal, "iris", 9).len(), 4);
    assert!(dir.path().join("journal.1.jsonl").exists());
}

#[test]
fn a_rotation_that_stopped_half_way_is_no_loss() {
    let dir = dir();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[switched("iris", 1)]).unwrap();
    fs::rename(dir.path().join("journal.jsonl"), dir.path().join("journal.1.jsonl")).unwrap();
    fs::write(dir.path().join("journal.jsonl.tmp"), "").unwrap();
    let (mut journal, seen, notes) = open(dir.path());
    assert_eq!((seen.len(), notes.len()), (1, 0));
    journal.rotate_bytes = 1;
    journal.append(&[switched("iris", 2)]).unwrap();
    journal.append(&[switched("iris", 3)]).unwrap();
    assert_eq!(newest(&journal, "iris", 9).len(), 3);
}

#[test]
fn history_does_not_show_what_was_not_acknowledged() {
    let dir = dir();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[switched("iris", 1)]).unwrap();
    let refused = line::encode(&[switched("iris", 2)]).unwrap();
    io::Write::write_all(&mut open_to_append(&journal.files.current()).unwrap(), refused.as_bytes()).unwrap();
    assert_eq!(newest(&journal, "iris", 9), [switched("iris", 1)]);
}
