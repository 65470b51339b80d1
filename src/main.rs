//! Parses arguments, hands over, and exits with a code.

use std::process::ExitCode;

use verdigris::{app, cli};

/// A request makes and frees some two dozen small pieces of memory on one thread, which this allocator does in a third of
/// the instructions of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os()) {
        Ok(args) => app::execute(&args),
        Err(exit) => exit.tell(&mut std::io::stdout(), &mut std::io::stderr()),
    };
    ExitCode::from(code)
}
