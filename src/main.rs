//! Parses arguments, hands over, and exits with a code.

use std::process::ExitCode;

use verdigris::{app, cli};

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os()) {
        Ok(args) => app::execute(&args),
        Err(exit) => exit.tell(&mut std::io::stdout(), &mut std::io::stderr()),
    };
    ExitCode::from(code)
}
