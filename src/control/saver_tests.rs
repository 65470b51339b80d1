use std::{fs, path::Path};

use super::*;
use crate::{
    ids::{Generation, PerSlot, Slot},
    store::SlotRecord,
};

fn record(generation: u64) -> ServiceRecord {
    ServiceRecord {
        generation: Generation(generation),
        active: Slot::Blue,
        previous: None,
        file_active: Slot::Blue,
        slots: PerSlot::<SlotRecord>::default(),
    }
}

fn note(saver: &mut Saver, service: &str, generation: Option<u64>) {
    saver.note(&service.parse().unwrap(), generation.map(record));
}

/// The generation of each service on disk.
fn on_disk(dir: &Path) -> Vec<(String, u64)> {
    let copy = tempfile::tempdir().unwrap();
    // The store itself is locked.
    fs::copy(dir.join("state.json"), copy.path().join("state.json")).unwrap();
    let (_, recovered) = Store::open(copy.path()).unwrap();
    let services = recovered.state.unwrap().services;
    services.into_iter().map(|(name, record)| (name.to_string(), record.generation.0)).collect()
}

fn saver() -> (tempfile::TempDir, Saver) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    (dir, Saver::new(Arc::new(store)))
}

/// What is due is done, at some time.
async fn go_on(saver: &mut Saver) {
    let gone_on = tokio::time::timeout(2 * RETRY_AFTER, saver.go_on()).await;
    assert!(gone_on.is_ok(), "nothing is due");
}

/// Fails when: `soon` or `go_on` saves each change by itself, or never, or `now` leaves it to be done again.
#[tokio::test(start_paused = true)]
async fn many_changes_are_saved_once() {
    let ((dir, mut saver), begun) = (saver(), Instant::now());
    for generation in 1..=9 {
        note(&mut saver, "iris", Some(generation));
        note(&mut saver, "rose", Some(1));
        saver.soon();
    }
    assert!(!dir.path().join("state.json").exists(), "nobody waits for it");
    assert!(saver.due >= Some(begun + SAVE_AFTER), "more changes may come");
    go_on(&mut saver).await;
    go_on(&mut saver).await;
    assert_eq!(on_disk(dir.path()), [("iris".to_owned(), 9), ("rose".to_owned(), 1)]);
    assert!(!dir.path().join("state.json.old").exists(), "it was written once");
    note(&mut saver, "rose", None);
    note(&mut saver, "iris", Some(9));
    saver.soon();
    saver.now().await.unwrap();
    assert_eq!(on_disk(dir.path()), [("iris".to_owned(), 9)]);
    assert!(saver.due.is_none(), "nothing is left to be done");
}

/// Fails when: `now` writes what is on disk already.
#[tokio::test]
async fn what_is_on_disk_is_not_written_again() {
    let (dir, mut saver) = saver();
    note(&mut saver, "iris", Some(1));
    saver.now().await.unwrap();
    note(&mut saver, "iris", Some(1));
    saver.soon();
    saver.now().await.unwrap();
    assert!(!dir.path().join("state.json.old").exists() && saver.due.is_none());
}

/// Fails when: `finish` takes a failed save for done, so that it is not tried again, neither by itself nor by `now`.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_saved_is_saved_later() {
    let (dir, mut saver) = saver();
    let in_the_way = dir.path().join("state.json.tmp");
    fs::create_dir(&in_the_way).unwrap();
    note(&mut saver, "iris", Some(1));
    for _ in 0..2 {
        assert!(saver.now().await.unwrap_err().contains("state.json.tmp"), "it is not on disk");
    }
    fs::remove_dir(&in_the_way).unwrap();
    go_on(&mut saver).await;
    go_on(&mut saver).await;
    assert_eq!(on_disk(dir.path()), [("iris".to_owned(), 1)]);
}
