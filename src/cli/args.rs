//! What can be typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand};

use super::{
    address::AdminAddress,
    commands::{
        CancelArgs, DeployArgs, DrainArgs, GoldenArgs, HistoryArgs, ReloadArgs, RollbackArgs, StatusArgs, SwitchArgs,
        TestArgs,
    },
};
use crate::config;

/// Blue-green traffic switcher for ML model servers.
///
/// Deploy the new model to the standby slot, test it, switch, watch, roll back in one word if it is worse, drain.
#[derive(Clone, Debug, Parser)]
#[command(name = "verdigris", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pub options: ClientOptions,
    #[command(subcommand)]
    pub command: Command,
}

/// How client commands reach the admin API and show its answers.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Client options")]
pub struct ClientOptions {
    /// Where the admin API is, such as http://127.0.0.1:9900, https://edge:9900 or unix:/run/verdigris.sock.
    #[arg(long, global = true, value_name = "URL|unix:PATH", env = "VERDIGRIS_ADMIN", default_value = ADMIN_DEFAULT, hide_env_values = true)]
    pub admin: AdminAddress,
    /// A file with the admin API's bearer token.
    #[arg(long, global = true, value_name = "FILE", env = "VERDIGRIS_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Who signs the admin API's certificate, in PEM; without it, whom the system trusts.
    #[arg(long, global = true, value_name = "FILE", env = "VERDIGRIS_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// A certificate to show to the admin API, in PEM.
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert.
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Print the admin API's JSON answer as it is, one document.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the proxy.
    Run(RunArgs),
    /// Check a config file, and tell every problem with its place.
    Check(CheckArgs),
    /// Work with files of golden requests.
    Golden(GoldenArgs),
    /// See a switch under load, with model servers of its own; nothing else is needed.
    Demo(DemoArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that talk to the admin API of a running proxy.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    Status(StatusArgs),
    Switch(SwitchArgs),
    Rollback(RollbackArgs),
    Cancel(CancelArgs),
    Drain(DrainArgs),
    History(HistoryArgs),
    Test(TestArgs),
    Deploy(DeployArgs),
    Reload(ReloadArgs),
}

#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Clone, Debug, ClapArgs)]
pub struct DemoArgs {
    /// Play a whole deployment by itself and end.
    #[arg(long)]
    pub script: bool,
}

/// Reads a duration for clap, which shows the text of the error behind the argument's name.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).map_err(|error| format!("{error}; {}", error.hint()))
}

const ADMIN_DEFAULT: &str = "http://127.0.0.1:9900";

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed
  2   refused, nothing changed
  3   switched, but not drained in time
  4   conflict: someone else changed it
  5   the admin API is not reachable
  64  usage";
