//! Parses arguments, hands over, and exits with a code.

use std::process::ExitCode;

use verdigris::{app, cli};

/// A request makes and frees some two dozen small pieces of memory on one thread, which this allocator does in a third of
/// the instructions of the system's. A thread of its own gives what is unused back to the system, so that thousands of
/// connections that have become idle do not go on costing what they cost when they were busy; an allocator that gives
/// memory back only while the program allocates keeps it just then. How it is set up is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os()) {
        Ok(args) => app::execute(&args),
        Err(exit) => exit.tell(&mut std::io::stdout(), &mut std::io::stderr()),
    };
    ExitCode::from(code)
}
