//! From a parsed client command to an exit code.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use tokio::runtime;

use super::{
    args::{ClientCommand, ClientOptions},
    client::Client,
    commands::{self, GoldenArgs, GoldenCommand},
    error::CliError,
    exit::ExitCode,
    page::Page,
    render,
    session::{Session, document, write},
};

/// Carries out a client command: asks the admin API and writes the answer to `out`, progress and errors to `err`.
/// Blocks until it is done, on a runtime of its own; must not be called from inside another. `colour` paints `out`.
/// Returns the number to end the process with.
pub fn run(
    command: &ClientCommand,
    options: &ClientOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
    colour: bool,
) -> u8 {
    let result = start(options, |client, runtime| {
        let json = options.json;
        let session = Session { client, json, colour, out: &mut *out, err: &mut *err };
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

/// Whether stdout is a terminal whose owner has not asked for plain text (`NO_COLOR`, `TERM=dumb`).
pub fn wants_colour() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused && env::var_os("TERM").is_none_or(|term| term != "dumb")
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

async fn carry_out(command: &ClientCommand, mut session: Session<'_>) -> Result<ExitCode, CliError> {
    let session = &mut session;
    match command {
        ClientCommand::Status(args) => commands::status::run(args, session).await,
        ClientCommand::Switch(args) => commands::switch::run(args, session).await,
        ClientCommand::Rollback(args) => commands::rollback::run(args, session).await,
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
