//! What kind of place this command writes to.

use std::{
    env,
    io::{self, IsTerminal},
};

/// What the terminal of a command can do; the default is a pipe, which can nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Paint stdout.
    pub colour: bool,
    /// Rewrite a line on stderr; says how many columns it has, each time anew, for windows change.
    pub live: Option<fn() -> usize>,
    /// Ctrl-C ends the command with a word about what goes on without it. Stays so for the rest of the process.
    pub interrupts: bool,
}

impl Terminal {
    /// The one that this process has. `NO_COLOR` and `TERM=dumb` are obeyed.
    pub fn of_this_process() -> Self {
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let live = !dumb && io::stderr().is_terminal();
        Self {
            colour: !dumb && !plain && io::stdout().is_terminal(),
            live: live.then_some(columns as fn() -> usize),
            interrupts: true,
        }
    }
}

fn columns() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS_DEFAULT, |(width, _)| width.0.into())
}

const COLUMNS_DEFAULT: usize = 80;
