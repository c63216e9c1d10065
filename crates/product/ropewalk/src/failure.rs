use std::process::ExitCode;

use ropewalk_server::ServerError;
use ropewalk_types::Diagnose;

use crate::output::printable;
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
    terminal::say(&format!("error: {}", lines(&error.to_string())));
    if let Some(hint) = error.hint() {
        terminal::say(&format!("hint: {}", lines(&hint)));
    }
    ENVIRONMENT.into()
}

/// The text with what could play tricks with a terminal escaped; errors of SQL and of git have several lines.
fn lines(text: &str) -> String {
    text.split('\n')
        .map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t"))
        .collect::<Vec<_>>()
        .join("\n")
}

pub(crate) fn no_runtime(error: &std::io::Error) -> ExitCode {
    terminal::say(&format!("error: cannot start the worker threads: {error}"));
    ENVIRONMENT.into()
}
