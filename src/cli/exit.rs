//! How the program ends: the exit codes, and the endings that come before any command.

use std::{ffi::OsString, io::Write};

use clap::{Parser, error::ErrorKind};

use super::args::Args;

/// The exit codes; they are part of the outside interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    Failed = 1,
    /// Refused; nothing changed.
    Refused = 2,
    /// Switched, but not drained in time.
    NotDrained = 3,
    /// Someone else changed it, or is changing it.
    Conflict = 4,
    /// The admin API cannot be reached.
    Unreachable = 5,
    Usage = 64,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as u8
    }
}

/// An ending without a command: help, version, or arguments that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: ExitCode,
    /// The text, which goes to stdout if the code is [`ExitCode::Done`] and to stderr otherwise.
    pub text: String,
}

impl Exit {
    /// Writes the text where it belongs and returns the number to end with. A reader that has gone is no failure.
    pub fn tell<'a>(&self, out: &'a mut dyn Write, err: &'a mut dyn Write) -> u8 {
        let place = if self.code == ExitCode::Done { out } else { err };
        // Nobody is left to be told that this could not be told.
        let _ = place.write_all(self.text.as_bytes()).and_then(|()| place.flush());
        self.code.into()
    }
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// The [`Exit`] to end with: help and version were asked for (0), or the arguments make no sense (64).
pub fn parse<I, T>(args: I) -> Result<Args, Exit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    Args::try_parse_from(args).map_err(|error| {
        let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        let code = if asked_for { ExitCode::Done } else { ExitCode::Usage };
        Exit { code, text: error.render().to_string() }
    })
}
