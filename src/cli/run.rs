//! From a parsed client command to an exit code.

use std::{env, io::Write};

use tokio::{runtime, signal};

use super::{
    args::{ClientCommand, ClientOptions},
    client::Client,
    commands::{self, GoldenArgs, GoldenCommand},
    error::CliError,
    exit::ExitCode,
    page::Page,
    render,
    session::{Session, document, write},
    terminal::Terminal,
};

/// Carries out a client command: asks the admin API and writes the answer to `out`, progress and errors to `err`.
/// Blocks until it is done, on a runtime of its own; must not be called from inside another.
/// Returns the number to end the process with.
pub fn run(
    command: &ClientCommand,
    options: &ClientOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: Terminal,
) -> u8 {
    let result = start(options, |client, runtime| {
        let session = Session::new(client, options.json, terminal, &mut *out, &mut *err);
        runtime.block_on(carry_out(command, session))
    });
    let code = match result {
        Ok(code) => code,
        Err(error) => tell(&error, options.json, out, err),
    };
    code.into()
}

/// Carries out a command on golden files; only `record` connects to anything. Blocks on the disk, and as [`run`] does.
/// Returns the number to end with.
pub fn golden(args: &GoldenArgs, options: &ClientOptions, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let record = match &args.command {
        GoldenCommand::Check(check) => return commands::golden::check(check, options.json, out, err).into(),
        GoldenCommand::Record(record) => record,
    };
    let result = start(options, |client, runtime| {
        runtime.block_on(commands::record::run(record, &client, options.json, &mut *out, &mut *err))
    });
    result.unwrap_or_else(|error| tell(&error, options.json, out, err)).into()
}

fn start(
    options: &ClientOptions,
    work: impl FnOnce(Client, &runtime::Runtime) -> Result<ExitCode, CliError>,
) -> Result<ExitCode, CliError> {
    let user = env::var("USER").or_else(|_unset| env::var("LOGNAME")).ok();
    let client = Client::new(options, user.as_deref())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    work(client, &runtime)
}

/// Ctrl-C ends the commands that wait with a word about what goes on without them, the others at once.
async fn carry_out(command: &ClientCommand, mut session: Session<'_>) -> Result<ExitCode, CliError> {
    if !session.terminal.interrupts || !waits(command) {
        return dispatch(command, &mut session).await;
    }
    let done = tokio::select! {
        done = dispatch(command, &mut session) => Some(done),
        Ok(()) = signal::ctrl_c() => None,
    };
    session.live("");
    done.unwrap_or_else(|| Err(CliError::Interrupted { goes_on: session.goes_on.take() }))
}

fn waits(command: &ClientCommand) -> bool {
    use ClientCommand::{Cancel, Deploy, Drain, History, Reload, Rollback, Status, Switch, Test};
    match command {
        Switch(_) | Rollback(_) | Test(_) | Deploy(_) => true,
        Status(_) | Cancel(_) | Drain(_) | History(_) | Reload(_) => false,
    }
}

async fn dispatch(command: &ClientCommand, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    match command {
        ClientCommand::Status(args) => commands::status::run(args, session).await,
        ClientCommand::Switch(args) => commands::switch::run(args, session).await,
        ClientCommand::Rollback(args) => commands::rollback::run(args, session).await,
        ClientCommand::Cancel(args) => commands::cancel::run(args, session).await,
        ClientCommand::Drain(args) => commands::drain::run(args, session).await,
        ClientCommand::History(args) => commands::history::run(args, session).await,
        ClientCommand::Test(args) => commands::test::run(args, session).await,
        ClientCommand::Deploy(args) => commands::deploy::run(args, session).await,
        ClientCommand::Reload(args) => commands::reload::run(args, session).await,
    }
}

/// Says why not: in words on `err`; with `--json`, the admin API's document also goes to `out`.
fn tell(error: &CliError, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let mut page = Page::new(false);
    render::error(&mut page, error);
    // If this cannot be written, the exit code still says it.
    let _ = write(err, &page.into_text());
    if let (true, CliError::Problem { json, .. }) = (json, error) {
        let _ = write(out, &document(json));
    }
    error.exit_code()
}
