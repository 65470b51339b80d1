//! The watch: says when the configuration file's content is another.
//!
//! One thread waits for the operating system's file events, lets them calm down, finds the file afresh and reads it.
//! Events are only a reason to look: which path they name says nothing (a Kubernetes `..data` swap never names the
//! file), and none at all come from network or overlay file systems, so it also looks every two seconds.
//!
//! Invariants: every directory in which a part of the path or a hop of a symlink lives is watched; a save without an
//! edit is silence; a file that is away for a while is the file as it was.
//! Never: parsing, judging, logging each event.

mod look;
mod named;
mod signal;
mod trail;

#[cfg(test)]
mod tests;

use std::{io, path::Path, thread, time::Duration};

use tokio::sync::watch;

use super::FileContent;
use look::Lookout;
pub use named::{Marks, NamedFiles};
use signal::{Signal, Waker};

/// Watches one file until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    contents: watch::Receiver<Option<FileContent>>,
    /// Of the content that was last told.
    told: String,
    waker: Waker,
}

impl Watcher {
    /// Begins to watch `path`. `known` is the hash of the content that the caller already holds, so that a change
    /// between the caller's reading and this call is told too.
    ///
    /// Fails only if no thread can be started. Where file events are not to be had, it looks every two seconds.
    pub fn start(path: impl AsRef<Path>, known: &str) -> io::Result<Self> {
        Self::start_with(path.as_ref(), known, Pace::REAL, Path::new("/"))
    }

    /// Waits until the file's content differs from what was told last (at first: from what the caller held), and
    /// returns it. A content that was there only between two calls is not told.
    ///
    /// Cancel-safe: dropping the future loses nothing. Needs no particular runtime.
    pub async fn changed(&mut self) -> FileContent {
        loop {
            if self.contents.changed().await.is_err() {
                // The thread is gone, which happens only if it panicked; there will be no more news.
                std::future::pending::<()>().await;
            }
            let newest = self.contents.borrow_and_update().clone();
            if let Some(content) = newest.filter(|content| content.hash != self.told) {
                self.told.clone_from(&content.hash);
                return content;
            }
        }
    }

    /// Directories outside `ceiling` are not watched: tests shut out each other's noise with it.
    fn start_with(path: &Path, known: &str, pace: Pace, ceiling: &Path) -> io::Result<Self> {
        let (waker, signal) = signal::pair();
        let (publish, contents) = watch::channel(None);
        let lookout = Lookout::new(path, known, pace, ceiling, waker.clone());
        thread::Builder::new().name("config-watch".into()).spawn(move || keep_watch(lookout, &signal, &publish))?;
        Ok(Self { contents, told: known.to_owned(), waker })
    }
}

impl Drop for Watcher {
    /// The thread ends by itself, at once unless it waits for the disk; nobody waits for it.
    fn drop(&mut self) {
        self.waker.stop();
    }
}

/// The thread. It begins as if an event had come, since the file may have changed before it was watched.
fn keep_watch(mut lookout: Lookout, signal: &Signal, publish: &watch::Sender<Option<FileContent>>) {
    lookout.begin();
    while let Some(reason) = signal.wait(lookout.pace()) {
        if let Some(content) = lookout.look(reason, signal) {
            publish.send_replace(Some(content));
        }
    }
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Without an event for this long, a burst of them is over.
    quiet: Duration,
    /// A burst is looked at after this long even if it goes on.
    burst_max: Duration,
    /// Look this often without any event.
    poll: Duration,
    /// Ask the operating system for file events at all.
    events: bool,
}

impl Pace {
    const REAL: Pace = Pace {
        quiet: Duration::from_millis(80),
        burst_max: Duration::from_millis(500),
        poll: Duration::from_secs(2),
        events: true,
    };
}
