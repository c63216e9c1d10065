//! The only door to other processes: run one command somewhere and hear what it says.
//!
//! An [`Executor`] starts exactly one command and reports how it ended; it knows nothing of stages, caches or
//! runs, so a batch system needs to be able to do no more than that to carry a stage. This crate never builds
//! a command line out of values: a line is the user's own text, and a [`Program`] takes its arguments as a list. A
//! [`Companion`] runs beside us and talks over a socket.

mod companion;
mod error;
mod local;
mod program;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;

pub use companion::{Companion, RunningCompanion};
pub use error::ExecutionError;
pub use local::LocalExecutor;
pub use program::{Program, ProgramOutput};

/// A command line as its author wrote it, read by `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The text that the shell reads; nothing is ever interpolated into it.
    pub line: String,
    /// The folder in which it runs.
    pub directory: PathBuf,
    /// The whole environment of the child: nothing else is inherited.
    pub environment: BTreeMap<String, String>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it ended with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Which of a command's two streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Hears every line of a running command, in order within a stream, without its line end.
pub trait Listener: Send + Sync {
    /// One line; bytes that are not UTF-8 are replaced; a line is cut at 64 KiB.
    fn line(&self, stream: Stream, text: &str);
}

/// A place where a command can run.
#[async_trait]
pub trait Executor: Send + Sync + std::fmt::Debug {
    /// The name under which configuration selects it.
    fn name(&self) -> &'static str;

    /// Runs `command` to its end. Dropping the future stops the command and all that it started.
    async fn run(&self, command: &Command, listener: &dyn Listener) -> Result<Exit, ExecutionError>;
}
