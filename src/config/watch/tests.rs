//! Every way in which people and programs replace a file, each many times over, on a real file system.
//! No test sleeps to let things settle: each waits for the content that has to come.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher as _};
use tokio::time::timeout;

use super::*;

const ROUNDS: usize = 10;
/// Only a failing test waits this long. Far above the poll, for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Events alone have to do: the poll would hide a lost one.
const EVENTS_ONLY: Pace = Pace { poll: Duration::from_secs(3600), ..Pace::REAL };

struct Room {
    _keep: tempfile::TempDir,
    root: PathBuf,
}

impl Room {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        Self { _keep: keep, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

/// Other tests make noise above the room. It would wake this watcher too, and hide a watch that is missing.
fn watch(room: &Room, path: &Path, pace: Pace) -> Watcher {
    let known = FileContent::read(path).unwrap().hash;
    Watcher::start_with(path, &known, pace, &room.root).unwrap()
}

/// Waits for this content; what was there on the way to it is passed over.
async fn wait_for(watcher: &mut Watcher, content: &str) {
    let wait = async { while watcher.changed().await.bytes != content.as_bytes() {} };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("the change to {content:?} was missed"));
}

/// Makes a change ten times over, each seen before the next is made.
async fn each_round_is_seen(room: &Room, path: &Path, mut change: impl FnMut(usize, &str)) {
    let mut watcher = watch(room, path, EVENTS_ONLY);
    for round in 1..=ROUNDS {
        let content = format!("round {round}");
        change(round, &content);
        wait_for(&mut watcher, &content).await;
    }
}

#[tokio::test]
async fn an_edit_in_place_is_seen() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| fs::write(&path, content).unwrap()).await;
}

#[tokio::test]
async fn a_writer_that_truncates_and_takes_its_time_is_seen_in_the_end() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| write_bytewise(&path, content)).await;
}

#[tokio::test]
async fn a_half_written_file_is_not_told_while_the_writer_is_at_it() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    // So long a quiet that no stall of a loaded machine looks like the end of the writing.
    let patient = Pace { quiet: Duration::from_secs(1), burst_max: PATIENCE, ..EVENTS_ONLY };
    let mut watcher = watch(&room, &path, patient);
    for content in ["the first, whole", "the second, whole"] {
        write_bytewise(&path, content);
        let told = timeout(PATIENCE, watcher.changed()).await.unwrap();
        assert_eq!(told.bytes, content.as_bytes());
    }
}

fn write_bytewise(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    for byte in content.as_bytes() {
        file.write_all(&[*byte]).unwrap();
        file.sync_data().unwrap();
    }
}

#[test]
fn a_burst_without_end_is_looked_at_all_the_same() {
    let (waker, signal) = signal::pair();
    let pace = Pace { quiet: PATIENCE, burst_max: Duration::from_millis(50), poll: PATIENCE, events: true };
    let noise = std::thread::spawn(move || {
        let started = Instant::now();
        // Ends when the ear is gone.
        while waker.wake() && started.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        started.elapsed()
    });
    assert_eq!(signal.wait(pace), Some(signal::Reason::Events));
    drop(signal);
    assert!(noise.join().unwrap() < PATIENCE, "it waited until the noise was over");
}

#[tokio::test]
async fn rename_over_the_file_is_seen() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| fs::rename(room.write("config.toml.tmp", content), &path).unwrap())
        .await;
}

#[tokio::test]
async fn a_save_by_vim_is_seen() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| {
        fs::rename(&path, room.path("config.toml~")).unwrap();
        fs::write(&path, content).unwrap();
        fs::remove_file(room.path("config.toml~")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn remove_and_create_again_is_seen() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_kubernetes_data_swap_is_seen() {
    let room = Room::new();
    room.write("..gen0/config.toml", "round 0");
    symlink("..gen0", room.path("..data")).unwrap();
    symlink("..data/config.toml", room.path("config.toml")).unwrap();
    each_round_is_seen(&room, &room.path("config.toml"), |round, content| {
        room.write(&format!("..gen{round}/config.toml"), content);
        symlink(format!("..gen{round}"), room.path("..data_tmp")).unwrap();
        fs::rename(room.path("..data_tmp"), room.path("..data")).unwrap();
        fs::remove_dir_all(room.path(&format!("..gen{}", round - 1))).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_current_link_in_another_directory_is_seen() {
    let room = Room::new();
    room.write("releases/0/config.toml", "round 0");
    fs::create_dir(room.path("etc")).unwrap();
    // The link's directory is not above the file's: no watch but its own sees the swap.
    fs::create_dir(room.path("links")).unwrap();
    symlink(room.path("releases/0"), room.path("links/current")).unwrap();
    symlink("../links/current/config.toml", room.path("etc/config.toml")).unwrap();
    each_round_is_seen(&room, &room.path("etc/config.toml"), |round, content| {
        room.write(&format!("releases/{round}/config.toml"), content);
        symlink(room.path(&format!("releases/{round}")), room.path("links/next")).unwrap();
        fs::rename(room.path("links/next"), room.path("links/current")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_replaced_parent_directory_is_seen_and_so_is_an_edit_in_the_new_one() {
    let room = Room::new();
    let path = room.write("etc/config.toml", "round 0");
    each_round_is_seen(&room, &path, |round, content| {
        if round % 2 == 0 {
            // Only the new directory's own watch sees this.
            return fs::write(&path, content).unwrap();
        }
        room.write("next/config.toml", content);
        fs::rename(room.path("etc"), room.path(&format!("old{round}"))).unwrap();
        fs::rename(room.path("next"), room.path("etc")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn after_a_link_was_swapped_an_edit_in_its_new_target_is_seen() {
    let room = Room::new();
    room.write("releases/0/config.toml", "round 0");
    symlink(room.path("releases/0"), room.path("current")).unwrap();
    each_round_is_seen(&room, &room.path("current/config.toml"), |round, content| {
        if round % 2 == 0 {
            return fs::write(room.path("current/config.toml"), content).unwrap();
        }
        room.write(&format!("releases/{round}/config.toml"), content);
        symlink(room.path(&format!("releases/{round}")), room.path("next")).unwrap();
        fs::rename(room.path("next"), room.path("current")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_parent_directory_that_is_deleted_and_made_again_is_seen() {
    let room = Room::new();
    let path = room.write("etc/config.toml", "round 0");
    each_round_is_seen(&room, &path, |_, content| {
        fs::remove_dir_all(room.path("etc")).unwrap();
        room.write("etc/config.toml", content);
    })
    .await;
}

#[tokio::test]
async fn the_same_content_saved_again_is_silence() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    let mut watcher = watch(&room, &path, EVENTS_ONLY);
    for round in 1..=ROUNDS {
        let before = format!("round {}", round - 1);
        fs::write(&path, &before).unwrap();
        fs::rename(room.write("config.toml.tmp", &before), &path).unwrap();
        let silence = timeout(Duration::from_millis(300), watcher.changed()).await;
        assert!(silence.is_err(), "told {silence:?} although nothing changed");
        let content = format!("round {round}");
        fs::rename(room.write("config.toml.tmp", &content), &path).unwrap();
        // Strictly the next thing told: had the saves above been told late, it would be one of them.
        let told = timeout(PATIENCE, watcher.changed()).await.unwrap();
        assert_eq!(told.bytes, content.as_bytes());
    }
}

#[tokio::test]
async fn a_change_before_the_watch_began_is_told() {
    let room = Room::new();
    let path = room.write("config.toml", "new");
    let mut watcher = Watcher::start(&path, "hash of something older").unwrap();
    wait_for(&mut watcher, "new").await;
}

#[tokio::test]
async fn a_file_that_is_away_for_a_while_is_no_change() {
    let room = Room::new();
    let path = room.write("config.toml", "here");
    let mut watcher = watch(&room, &path, EVENTS_ONLY);
    for _ in 0..3 {
        fs::rename(&path, room.path("elsewhere")).unwrap();
        assert!(timeout(Duration::from_millis(200), watcher.changed()).await.is_err());
        fs::rename(room.path("elsewhere"), &path).unwrap();
    }
    fs::write(&path, "changed").unwrap();
    let told = timeout(PATIENCE, watcher.changed()).await.unwrap();
    assert_eq!(told.bytes, b"changed");
}

#[tokio::test]
async fn without_file_events_it_polls() {
    let room = Room::new();
    let path = room.write("config.toml", "round 0");
    let pace = Pace { events: false, poll: Duration::from_millis(20), quiet: Duration::from_millis(10), ..Pace::REAL };
    let mut watcher = watch(&room, &path, pace);
    for round in 1..=ROUNDS {
        let content = format!("round {round}");
        fs::rename(room.write("config.toml.tmp", &content), &path).unwrap();
        wait_for(&mut watcher, &content).await;
    }
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let room = Room::new();
    let path = room.write("config.toml", "old");
    let mut watcher = watch(&room, &path, EVENTS_ONLY);
    fs::write(&path, "new").unwrap();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Ok(told) = timeout(Duration::from_micros(100), watcher.changed()).await {
            assert_eq!(told.bytes, b"new");
            return;
        }
    }
    panic!("the change was lost");
}

#[tokio::test]
async fn there_and_back_between_two_calls_is_silence() {
    let room = Room::new();
    let path = room.write("config.toml", "a");
    let mut watcher = watch(&room, &path, EVENTS_ONLY);
    for content in ["b", "a"] {
        fs::write(&path, content).unwrap();
        let arrived = async {
            let is_there =
                |newest: &Option<FileContent>| newest.as_ref().is_some_and(|c| c.bytes == content.as_bytes());
            // A second ear on the same channel, so that the watcher under test is not asked yet.
            watcher.contents.clone().wait_for(is_there).await.unwrap();
        };
        timeout(PATIENCE, arrived).await.unwrap();
    }
    assert!(timeout(Duration::from_millis(50), watcher.changed()).await.is_err());
}

#[test]
fn reading_the_file_is_no_reason_to_look_again() {
    let room = Room::new();
    let path = room.write("config.toml", "a");
    let (waker, signal) = signal::pair();
    // Only the room's own directory, since other tests make noise in the ones above.
    let mut events = look::listen(waker, std::sync::Arc::default()).unwrap();
    events.watch(&room.root, RecursiveMode::NonRecursive).unwrap();
    for _ in 0..5 {
        fs::read(&path).unwrap();
    }
    assert!(!signal.called_within(Duration::from_millis(200)), "it would look for ever");
    fs::write(&path, "b").unwrap();
    assert!(signal.called_within(PATIENCE));
}

#[test]
fn at_the_watch_limit_it_polls_until_watches_are_to_be_had_again() {
    let room = Room::new();
    let path = room.write("config.toml", "a");
    let (waker, signal) = signal::pair();
    let mut lookout = Lookout::new(&path, "", EVENTS_ONLY, &room.root, waker);
    lookout.fall_back(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    assert!(lookout.is_polling());
    assert_eq!(lookout.look(signal::Reason::Events, &signal).unwrap().bytes, b"a");
    assert!(!lookout.is_polling());
}

#[test]
fn the_thread_ends_when_the_watcher_is_dropped() {
    let room = Room::new();
    let path = room.write("config.toml", "a");
    let watcher = watch(&room, &path, EVENTS_ONLY);
    let ear = watcher.contents.clone();
    drop(watcher);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Fails once the sender, which the thread owns, is gone.
        runtime.block_on(async { ear.clone().wait_for(|_| false).await.unwrap_err() });
        done.send(()).unwrap();
    });
    ended.recv_timeout(PATIENCE).expect("the thread goes on");
}
