//! Models that only Python can run, each in worker processes of its own environment.

mod environment;
mod folder;
mod frame;
mod learned;
mod model;
mod pool;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource};
use model::PythonModel;

/// Which Python runs a model, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonSettings {
    /// The interpreter for every model; it needs `mlflow` and what the models import.
    pub interpreter: Option<PathBuf>,
    /// The program `uv`, which makes an environment from a model's `python_env.yaml` and `requirements.txt`.
    pub uv: Option<PathBuf>,
    /// The interpreter where there is no `uv`, or the model does not say what it needs.
    pub fallback: Option<PathBuf>,
    /// The folder in which environments are kept, each under the digest of what it was made from.
    pub cache: PathBuf,
    /// Time for a worker to import and load a model.
    pub start_limit: Duration,
    /// Time for one answer; the worker that takes longer is killed.
    pub request_limit: Duration,
    /// Time for `uv` to make an environment.
    pub environment_limit: Duration,
    /// Resident memory of one worker, in bytes; one that has more is killed.
    pub memory_limit: Option<u64>,
    /// Variables of the workers and of `uv`, besides `PATH`, `HOME` and `LANG`.
    pub environment: BTreeMap<String, String>,
}

impl PythonSettings {
    /// No interpreter yet; two minutes to start, 30 s to answer, 15 min to make an environment, 4 GiB of memory.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            interpreter: None,
            uv: None,
            fallback: None,
            cache,
            start_limit: Duration::from_mins(2),
            request_limit: Duration::from_secs(30),
            environment_limit: Duration::from_mins(15),
            memory_limit: Some(4 << 30),
            environment: BTreeMap::new(),
        }
    }
}

/// The engine that runs MLflow's `python_function` and `sklearn` flavours as they are.
///
/// A worker answers one request at a time and is restarted, ever more slowly, when it ends, hangs or grows; the request
/// that it was at then gets [`InferenceError::NotReady`]. What a worker prints goes to its log, not into answers.
#[derive(Debug)]
pub struct PythonEngine {
    settings: PythonSettings,
}

impl PythonEngine {
    /// An engine of these settings.
    pub fn new(settings: PythonSettings) -> Self {
        Self { settings }
    }
}

impl Engine for PythonEngine {
    fn name(&self) -> EngineName {
        EngineName::Python
    }

    fn available(&self) -> Result<String, InferenceError> {
        environment::available(&self.settings)
    }

    fn takes(&self, source: &ModelSource) -> bool {
        matches!(source, ModelSource::Folder(_))
    }

    fn load(&self, source: &ModelSource, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        match source {
            ModelSource::Folder(folder) => Ok(Arc::new(PythonModel::new(&self.settings, folder, options)?)),
            ModelSource::Onnx { .. } => {
                Err(InferenceError::Malformed { reason: "the Python engine takes MLflow model folders".to_owned() })
            }
        }
    }
}

pub(crate) fn failed(reason: &(impl ToString + ?Sized)) -> InferenceError {
    InferenceError::EngineFailed { engine: EngineName::Python, reason: reason.to_string() }
}

pub(crate) fn not_ready(reason: &(impl ToString + ?Sized)) -> InferenceError {
    InferenceError::NotReady { engine: EngineName::Python, reason: reason.to_string() }
}
