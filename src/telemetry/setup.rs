//! Turns `tracing` on: to standard error, as text or JSON lines, so that standard output stays free for access records.

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    filter::{FilterFn, LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("log.filter {filter:?} is not a tracing filter: {source}; write e.g. \"info\" or \"verdigris=debug\"")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
}

/// Sets the process-wide subscriber. A second call in one process keeps the first.
pub fn init_tracing(json: bool, filter: &str) -> Result<(), SetupError> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| SetupError::Filter { filter: filter.to_owned(), source })?;
    let quiet = quiet_watch(parsed.max_level_hint());
    let registry = tracing_subscriber::registry().with(parsed).with(quiet);
    // An error here only says that a subscriber is set already, as in a test binary that starts several proxies.
    let _ = if json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(ansi)).try_init()
    };
    Ok(())
}

/// Leaves out what the file watch's library has to say of each event: where the log is written beside the config file, each
/// line would be the next event.
fn quiet_watch(most: Option<LevelFilter>) -> FilterFn {
    let is_wanted = |line: &Metadata<'_>| *line.level() <= Level::INFO || !line.target().starts_with("notify");
    let filter = filter_fn(is_wanted as fn(&Metadata<'_>) -> bool);
    // Without a hint every line in the code would be looked at.
    filter.with_max_level_hint(most.unwrap_or(LevelFilter::TRACE))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Fails when: the watch's library tells of each event, or others are silenced with it.
    #[test]
    fn the_watch_does_not_feed_itself() {
        let lines = Lines::default();
        let (writer, all) = (lines.clone(), EnvFilter::new("trace"));
        let quiet = quiet_watch(all.max_level_hint());
        let layer = fmt::layer().with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(all).with(quiet).with(layer), || {
            tracing::trace!(target: "notify::inotify", "an event");
            tracing::warn!(target: "notify::inotify", "a warning");
            tracing::trace!(target: "other", "a trace");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("an event") && text.contains("a warning") && text.contains("a trace"), "{text}");
    }
}
