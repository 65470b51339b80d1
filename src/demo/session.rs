//! One run of the demo from its first word to its table.

use std::{convert::Infallible, future::pending, io, io::Write, net::SocketAddr, pin::Pin, pin::pin, sync::Arc};

use super::{
    admin::{Admin, AdminError},
    check::Path,
    ledger::{Ledger, Tally},
    load::{Load, Target},
    report, script,
    servers::Servers,
    watch::Watch,
};

/// What the demo stands on; the proxy is already running.
#[derive(Debug)]
pub struct Options {
    /// How this program was called: the commands to try begin with it.
    pub program: String,
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// Where its admin API listens.
    pub admin: SocketAddr,
    /// Play the script and end, instead of waiting to be interrupted.
    pub script: bool,
    /// The servers behind it, as [`Servers::start`] started them.
    pub servers: Servers,
}

/// How it went.
#[derive(Debug)]
pub struct Verdict {
    total: Tally,
    shortfall: Option<String>,
}

impl Verdict {
    /// True if there was a load, each request and stream got a whole answer of the right version, no client connection
    /// was closed, and the script, if one was played, came to its end.
    pub fn nothing_lost(&self) -> bool {
        self.total.requests > 0 && self.total.faults() == 0 && self.shortfall.is_none()
    }

    /// Inference requests that were sent.
    pub fn requests(&self) -> u64 {
        self.total.requests
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> &Tally {
        &self.total
    }

    fn in_words(&self) -> String {
        if let Some(shortfall) = &self.shortfall {
            return format!("Failed: {shortfall}.");
        }
        match (self.total.faults(), self.total.requests) {
            (0, 0) => "Failed: nothing was sent.".to_owned(),
            (0, _) => "Nothing was lost.".to_owned(),
            (faults, _) => format!("Failed: {faults} faults; see the rows above that are not zero."),
        }
    }
}

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("interrupted")]
    Interrupted,
    #[error("the output could not be written")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("blue is not safe to delete: {0}")]
    NotDrained(String),
}

/// Runs the load against the proxy and prints what is going on, until `interrupted` is ready or the script is over;
/// then lets what is open finish (some two seconds) and prints the table. Dropping the future ends the load at once.
///
/// # Errors
/// If `out` cannot be written. Whatever goes wrong with the proxy is in the verdict.
pub async fn run(options: Options, out: &mut impl Write, interrupted: impl Future) -> io::Result<Verdict> {
    let Options { program, proxy, admin: admin_addr, script, servers } = options;
    writeln!(out, "{}", report::introduction(proxy, admin_addr, &servers))?;
    if !script {
        writeln!(out, "{}", report::invitation(&program, proxy, admin_addr))?;
    }
    let (admin, ledger) = (Admin::new(admin_addr), Arc::new(Ledger::default()));
    let load = Load::start(Target { addr: proxy, path: Path::Proxied }, &ledger);
    let watch = Watch::new(out, admin, Arc::clone(&ledger));
    let mut session = Session { admin, ledger: Arc::clone(&ledger), watch, interrupted: pin!(interrupted) };
    // Both servers live here, so that a script that stops half-way does not take blue away from the load.
    let Servers { blue, green: _green } = servers;
    let mut blue = Some(blue);
    let shortfall = match session.play(script, &mut blue).await {
        Ok(()) => None,
        Err(Stop::Output(error)) => return Err(error),
        Err(Stop::Interrupted) if !script => None,
        Err(stop) => Some(in_full(&stop)),
    };
    let mut watch = session.watch;
    watch.say("\nfinishing what is open: no new requests, streams to their last token …")?;
    load.finish().await;
    // The last look convicts or acquits the last suspects.
    watch.look().await?;
    let verdict = Verdict { total: ledger.total(), shortfall };
    watch.say(&format!("\n{}\n{}", report::table(&verdict.total, watch.elapsed()), verdict.in_words()))?;
    Ok(verdict)
}

/// The load's surroundings while it runs.
pub(super) struct Session<'a, W, F> {
    pub(super) admin: Admin,
    pub(super) ledger: Arc<Ledger>,
    pub(super) watch: Watch<'a, W>,
    interrupted: Pin<&'a mut F>,
}

impl<W: Write, F: Future> Session<'_, W, F> {
    async fn play(&mut self, script: bool, blue: &mut Option<super::Server>) -> Result<(), Stop> {
        if script {
            return script::play(self, blue).await;
        }
        match self.during(pending::<Infallible>()).await? {}
    }

    /// Watches and prints until `work` is done.
    ///
    /// # Errors
    /// If the demo was interrupted (it must not be called again then) or the output failed.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            _ = &mut self.interrupted => Err(Stop::Interrupted),
            done = work => Ok(done),
            failed = self.watch.run() => match failed? {},
        }
    }
}

/// An error with its causes, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
