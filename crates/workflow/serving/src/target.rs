use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_inference::EngineName;
use ropewalk_types::{ModelName, Signature};

use crate::host::Loaded;
use crate::{InferenceResponse, ServingError};

/// The version that a request goes to. While there is one, that version is under way: it answers to the end, also
/// when it is replaced or unloaded meanwhile.
#[derive(Debug)]
pub struct Target {
    loaded: Arc<Loaded>,
}

impl Target {
    pub(crate) fn new(loaded: &Arc<Loaded>) -> Self {
        loaded.gate.enter();
        Self { loaded: Arc::clone(loaded) }
    }

    pub(crate) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// The model.
    pub fn model(&self) -> &ModelName {
        &self.loaded.name
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.loaded.version
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Arc<Signature> {
        &self.loaded.signature
    }

    /// The engine that runs it.
    pub fn engine(&self) -> EngineName {
        self.loaded.lane.model().engine()
    }
}

impl Clone for Target {
    fn clone(&self) -> Self {
        Self::new(&self.loaded)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.loaded.gate.leave();
    }
}

/// Is told of every answer and every error of a version; not of requests whose client went away.
pub trait AnswerObserver: Send + Sync + Debug {
    /// One request was answered or failed, `latency` after its arrival. Called on the request's own task: must be
    /// quick and must not wait.
    fn answered(&self, target: &Target, result: Result<&InferenceResponse, &ServingError>, latency: Duration);
}
