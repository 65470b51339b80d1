//! The command line: arguments, a client of the admin API, and what a person reads on a terminal.
//!
//! Flow: [`parse`] says what was typed → [`run`] carries out a client command: `client` asks the admin API, the file of
//! the command in `commands` reads the answer, `page` writes it. While it waits, `follow` shows what `news` brings. `run`,
//! `check` and `demo` are only parsed here; `golden check` works on files alone.
//!
//! Invariants: every ending is an [`ExitCode`]; with `--json` the admin API's own document goes to stdout, and only it;
//! progress and errors go to stderr; text from the network never reaches the terminal with control characters in it.
//! Never: what a service does now except by asking the admin API; control, proxy, admin.

mod address;
mod args;
mod client;
mod commands;
mod error;
mod exit;
mod follow;
mod news;
mod page;
mod progress;
mod render;
mod run;
mod secure;
mod session;
mod terminal;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod release_tests;
#[cfg(test)]
mod tests;

pub use address::{AdminAddress, BadAdminAddress};
pub use args::{Args, CheckArgs, ClientCommand, ClientOptions, Command, DemoArgs, RunArgs};
pub use commands::{
    CancelArgs, ChangeArgs, DeployArgs, DrainArgs, GoldenArgs, GoldenCheckArgs, GoldenCommand, GoldenRecordArgs,
    HistoryArgs, ReloadArgs, RollbackArgs, StatusArgs, SwitchArgs, TestArgs, WaitArgs,
};
pub use exit::{Exit, ExitCode, parse};
pub use run::{golden, run};
pub use terminal::Terminal;
