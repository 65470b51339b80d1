//! Turns `tracing` on: to standard error, as text or JSON lines, so that standard output stays free for access records.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

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
    let registry = tracing_subscriber::registry().with(parsed);
    // An error here only says that a subscriber is set already, as in a test binary that starts several proxies.
    let _ = if json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(ansi)).try_init()
    };
    Ok(())
}
