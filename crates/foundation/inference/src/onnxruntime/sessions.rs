//! One model several times: a session of ONNX Runtime answers one request at a time.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;

use super::fault::failed;
use crate::{InferenceError, LoadOptions};

/// What all sessions of a model together may hold of it, in bytes of its file.
const BYTES_LIMIT: usize = 256 << 20;

/// Idle sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    idle: Mutex<Vec<Session>>,
    returned: Condvar,
}

/// How a session is made.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub(super) environment: &'a Environment,
    pub(super) bytes: &'a [u8],
    /// Folder of the tensors that lie in other files, if there are such.
    pub(super) external: Option<&'a str>,
    pub(super) options: &'a LoadOptions,
}

impl Recipe<'_> {
    pub(super) fn session(&self) -> ort::Result<Session> {
        let mut builder = Session::builder(self.environment)?
            .with_log_level(LogLevel::Fatal)?
            .with_intra_threads(self.options.threads.max(1))?
            .with_inter_threads(1)?
            // A thread that spins takes from those that answer other requests.
            .with_config_entry("session.intra_op.allow_spinning", "0")?
            .with_config_entry("session.inter_op.allow_spinning", "0")?;
        if let Some(folder) = self.external {
            builder = builder.with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        }
        builder.commit_from_memory(self.bytes)
    }

    /// As many as there are processors for, as far as memory allows.
    fn count(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let wanted = processors / self.options.threads.max(1);
        let affordable = if self.external.is_some() { 1 } else { BYTES_LIMIT / self.bytes.len().max(1) };
        wanted.min(affordable).max(1)
    }
}

impl Sessions {
    /// `first` and as many more as pay.
    pub(super) fn new(first: Session, recipe: &Recipe<'_>) -> ort::Result<Self> {
        let mut idle = vec![first];
        for _ in 1..recipe.count() {
            idle.push(recipe.session()?);
        }
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Runs `work` with a session that no one else has; waits for one.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, InferenceError>,
    ) -> Result<T, InferenceError> {
        let mut lease = Lease { sessions: self, session: Some(self.take()) };
        lease.session.as_mut().map_or_else(|| Err(failed("a lease without a session")), work)
    }

    fn take(&self) -> Session {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match idle.pop() {
                Some(session) => return session,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Gives a session back, also if the work with it panics.
struct Lease<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut idle = self.sessions.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.session.take());
        self.sessions.returned.notify_one();
    }
}
