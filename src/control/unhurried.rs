//! Heavy work that gives way to the workers.

use std::{io, thread};

use tokio::task::spawn_blocking;

/// How much nicer than the rest of the process: a tenth of a worker's share where they want the same core.
const NICER_BY: i32 = 10;

/// Does the work on a thread of low priority, and returns when it is done. To read thousands of services takes tens of
/// milliseconds, and the requests of a worker that has to share its core with that would feel it. Cancelling this does not
/// end the work.
///
/// # Errors
/// No thread is to be had, or the work panicked.
pub(super) async fn unhurried<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let done = spawn_blocking(move || {
        let thread = thread::Builder::new().name("unhurried".into()).spawn(move || {
            // On Linux this is the calling thread's alone, and it cannot be taken back without privileges: so the thread is
            // not one of a pool. Where it is not permitted the work is done as it is.
            let _ = rustix::process::nice(NICER_BY);
            work()
        })?;
        thread
            .join()
            .map_err(|_panic| io::Error::other("a defect of the proxy: the work panicked, the log tells where"))
    });
    done.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    /// Fails when: the work has the workers' priority, or who waits for it has the work's.
    #[tokio::test]
    async fn the_work_gives_way() {
        let before = getpriority_process(None).unwrap();
        let then = unhurried(|| getpriority_process(None)).await.unwrap().unwrap();
        assert_eq!(then, (before + NICER_BY).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = unhurried(|| panic!("injected")).await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
