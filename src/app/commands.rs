//! The commands that need more than the admin API: `run`, `check` and `demo`; the others are handed over.

use std::{future::poll_fn, io, path::Path, pin::pin, task::Poll};

use anyhow::Context as _;

use super::{Ended, Options, Running, start};
use crate::{
    cli::{self, Args, Command, ExitCode},
    config, control,
    demo::{self, Servers},
    net::tls::TlsListeners,
};

/// Carries a command out. Returns the code to exit with.
pub fn execute(args: &Args) -> u8 {
    let result = match &args.command {
        Command::Run(run_args) => run(&run_args.config),
        Command::Check(check_args) => return check(&check_args.config, args.options.json),
        Command::Golden(golden_args) => {
            return cli::golden(golden_args, &args.options, &mut io::stdout(), &mut io::stderr());
        }
        Command::Demo(demo_args) => play(demo_args.script),
        Command::Client(command) => {
            return cli::run(
                command,
                &args.options,
                &mut io::stdout(),
                &mut io::stderr(),
                cli::Terminal::of_this_process(),
            );
        }
    };
    result.unwrap_or_else(|error| {
        say(&mut io::stderr(), &format!("verdigris: {error:#}"));
        ExitCode::Failed
    }) as u8
}

/// Writes a line; a reader that has gone needs none.
fn say(to: &mut dyn io::Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let options = Options { signals: true, ..Options::new(config) };
    match start(options)?.join() {
        Ended::InOrder => Ok(ExitCode::Done),
        Ended::WithoutWorkers => anyhow::bail!("every worker has ended by a defect; the log says why: start it again"),
        Ended::WithoutControl => {
            anyhow::bail!("the control plane has ended by a defect; the log says why: start it again")
        }
    }
}

/// Tells every problem of a config file, and of the certificates, golden files and tokens that it names; binds nothing.
fn check(path: &Path, json: bool) -> u8 {
    let checked = config::load(path).and_then(|loaded| {
        let tls = TlsListeners::default().load(path, &loaded)?;
        control::read_tls_files(&loaded, path)?;
        control::read_golden_files(&loaded, path)?;
        control::read_preview_tokens(&loaded, path)?;
        Ok(loaded.warnings.into_iter().chain(tls.warnings()).collect())
    });
    let (problems, warnings, rendered) = match checked {
        Ok(warnings) => (Vec::new(), warnings, String::new()),
        Err(problems) => (problems.lines(), Vec::new(), problems.render()),
    };
    let code = if problems.is_empty() { ExitCode::Done } else { ExitCode::Failed };
    if json {
        let document = serde_json::json!({ "ok": problems.is_empty(), "problems": problems, "warnings": warnings });
        say(&mut io::stdout(), &document.to_string());
        return code.into();
    }
    for warning in warnings {
        say(&mut io::stdout(), &format!("warning: {warning}"));
    }
    if problems.is_empty() {
        say(&mut io::stdout(), &format!("{}: correct", path.display()));
    } else {
        say(&mut io::stderr(), rendered.trim_end());
    }
    code.into()
}

/// Model servers, proxy and load in one process.
fn play(script: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let directory = Scratch::new()?;
    let servers = runtime.block_on(Servers::start()).context("the demo's model servers cannot start")?;
    let running = start_demo_proxy(&servers, &directory, script)?;
    let program = std::env::args().next().unwrap_or_else(|| "verdigris".to_owned());
    let options = demo::Options { program, proxy: running.proxy_addr(), admin: running.admin_addr(), script, servers };
    let verdict = runtime.block_on(async {
        wait_until_ready(&running).await;
        demo::run(options, &mut io::stdout(), interrupted()).await
    });
    running.begin_shutdown();
    running.join();
    let verdict = match verdict {
        Ok(verdict) => verdict,
        // Nobody reads any more: `verdigris demo | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::Done),
        Err(error) => return Err(error).context("the demo cannot write"),
    };
    Ok(if verdict.nothing_lost() { ExitCode::Done } else { ExitCode::Failed })
}

/// On the usual ports, so that the commands it prints are short; on free ones if these are taken, or for a script.
fn start_demo_proxy(servers: &Servers, directory: &Scratch, script: bool) -> anyhow::Result<Running> {
    let config = directory.0.join("verdigris.toml");
    let begin = |proxy: &str, admin: &str| {
        let text = demo::config_text(servers, proxy, admin) + "\n[log]\nfilter = \"error\"\n";
        std::fs::write(&config, text).with_context(|| format!("{} cannot be written", config.display()))?;
        start(Options::new(&config))
    };
    if script {
        return begin("127.0.0.1:0", "127.0.0.1:0");
    }
    begin("127.0.0.1:8080", "127.0.0.1:9900").or_else(|error| {
        say(&mut io::stdout(), &format!("The usual ports are not free ({error:#}); taking others."));
        begin("127.0.0.1:0", "127.0.0.1:0")
    })
}

/// Until both model servers have been probed, so that the first status a visitor sees is a calm one.
async fn wait_until_ready(running: &Running) {
    let mut patience = 100;
    while patience > 0 {
        let list = running.handle().list().await;
        let unhealthy = |slot: &crate::api::SlotStatus| {
            slot.endpoints.iter().any(|endpoint| endpoint.health != crate::api::EndpointHealth::Healthy)
        };
        if !list.services.iter().any(|service| service.slots.iter().any(|(_, slot)| unhealthy(slot))) {
            return;
        }
        patience -= 1;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Ready when the user or the system wants the demo to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    let mut interrupt = pin!(interrupt.recv());
    let mut terminate = pin!(terminate.recv());
    poll_fn(|cx| {
        if interrupt.as_mut().poll(cx).is_ready() || terminate.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// A directory for the demo's config and state, removed at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("verdigris-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
