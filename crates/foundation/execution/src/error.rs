use std::path::PathBuf;

use ropewalk_types::Diagnose;

/// A command that could not be started or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutionError {
    /// The program is not there or may not be executed.
    #[error("cannot start `{program}` in {}: {source}", directory.display())]
    Start {
        /// What was to be started.
        program: String,
        /// Where.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its output could not be read or its end not be waited for.
    #[error("lost `{program}` while it was running: {source}")]
    Lost {
        /// What was running.
        program: String,
        /// What happened.
        source: std::io::Error,
    },
    /// It said more than the caller allowed.
    #[error("`{program}` printed more than {limit} bytes")]
    TooMuchOutput {
        /// What was running.
        program: String,
        /// The bound, in bytes.
        limit: u64,
    },
}

impl Diagnose for ExecutionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Start { .. } => "execution.start",
            Self::Lost { .. } => "execution.lost",
            Self::TooMuchOutput { .. } => "execution.too_much_output",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, .. } => Some(format!("is `{program}` installed and on PATH?")),
            _ => None,
        }
    }
}
