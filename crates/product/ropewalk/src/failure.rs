use std::process::ExitCode;

use ropewalk_server::ServerError;
use ropewalk_types::Diagnose;

use crate::terminal;

/// The user's work failed: a stage, a gate, a check.
pub(crate) const WORK_FAILED: u8 = 1;
/// Wrong usage, or something about the machine.
pub(crate) const ENVIRONMENT: u8 = 2;
/// Stopped by Ctrl-C: 128 and the signal's number, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// What a command gives back: an exit code, or an error to tell.
pub(crate) type Ending = Result<ExitCode, ServerError>;

/// Tells an error with what to do about it.
pub(crate) fn tell(error: &ServerError) -> ExitCode {
    terminal::say(&format!("error: {error}"));
    if let Some(hint) = error.hint() {
        terminal::say(&format!("hint: {hint}"));
    }
    ENVIRONMENT.into()
}

pub(crate) fn no_runtime(error: &std::io::Error) -> ExitCode {
    terminal::say(&format!("error: cannot start the worker threads: {error}"));
    ENVIRONMENT.into()
}
