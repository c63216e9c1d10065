use ropewalk_inference::InferenceError;
use ropewalk_types::Diagnose;

/// What can go wrong between a request and its answer, and with the log of answers.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// No version of the model is loaded.
    #[error("model `{model}` is not loaded; loaded: {loaded}")]
    UnknownModel {
        /// The name that was asked for.
        model: String,
        /// The names that would have been found.
        loaded: String,
    },
    /// The model is loaded, but not in this version.
    #[error("model `{model}` has no version {version} loaded; loaded: {loaded}")]
    UnknownVersion {
        /// The model.
        model: String,
        /// The version that was asked for.
        version: u64,
        /// The versions that would have been found.
        loaded: String,
    },
    /// The version in the request is no number.
    #[error("`{0}` is not a model version: a whole number from 1 on is expected")]
    InvalidVersion(String),
    /// The request asks for an output that the model does not have.
    #[error("model `{model}` has no output `{output}`; it has: {known}")]
    UnknownOutput {
        /// The model.
        model: String,
        /// The output that was asked for.
        output: String,
        /// The outputs that the model has.
        known: String,
    },
    /// The request asks for an output twice.
    #[error("output `{output}` is asked for twice")]
    RepeatedOutput {
        /// The output.
        output: String,
    },
    /// The request has more rows than one request may have.
    #[error("the request has {rows} rows, the limit is {limit}")]
    TooManyRows {
        /// Rows of the request.
        rows: usize,
        /// Rows that are allowed.
        limit: usize,
    },
    /// The engine refused the request, or the model when it was loaded.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// As many requests are waiting as may wait.
    #[error("{waiting} requests are being answered or waiting, no more are taken")]
    Overloaded {
        /// Requests inside.
        waiting: usize,
    },
    /// A model's bytes could not be loaded.
    #[error("cannot load version {version} of model `{model}`: {problem}")]
    Load {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// What the engine said.
        problem: Box<InferenceError>,
    },
    /// The engine stopped in the middle of a request.
    #[error("the engine failed while it answered for model `{model}`")]
    EngineFailed {
        /// The model.
        model: String,
    },
    /// The engine's answer lacks an output of the model's signature.
    #[error("the answer of model `{model}` lacks its output `{output}`")]
    MissingOutput {
        /// The model.
        model: String,
        /// The output.
        output: String,
    },
    /// Predictions cannot be written to their log at present.
    #[error("predictions cannot be logged: {problem}")]
    LogBroken {
        /// Why not.
        problem: String,
    },
    /// The log has been closed.
    #[error("the prediction log is closed")]
    LogClosed,
    /// The log was closed while it could not be written.
    #[error("{records} predictions were not logged before the log was closed: {problem}")]
    LogLost {
        /// Records that are kept nowhere.
        records: usize,
        /// Why they could not be written.
        problem: String,
    },
}

/// Who has to act on an error; each protocol maps it to its own status in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong and will be wrong again.
    Request,
    /// The request asks for what is not here.
    NotFound,
    /// The request is over a limit.
    TooLarge,
    /// The request is right and may succeed later.
    Unavailable,
    /// We failed.
    Server,
}

impl ServingError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => Fault::NotFound,
            Self::InvalidVersion(_) | Self::UnknownOutput { .. } | Self::RepeatedOutput { .. } => Fault::Request,
            Self::TooManyRows { .. } => Fault::TooLarge,
            Self::Overloaded { .. } | Self::LogBroken { .. } | Self::LogClosed | Self::LogLost { .. } => {
                Fault::Unavailable
            }
            Self::Inference(problem) => inference_fault(problem),
            Self::Load { .. } | Self::EngineFailed { .. } | Self::MissingOutput { .. } => Fault::Server,
        }
    }
}

/// A graph is checked when it is loaded, so what fails on a request's values is the request's.
fn inference_fault(problem: &InferenceError) -> Fault {
    match problem {
        InferenceError::InvalidInput { .. }
        | InferenceError::Evaluation { .. }
        | InferenceError::ElementCount { .. } => Fault::Request,
        InferenceError::TooLarge { .. } => Fault::TooLarge,
        InferenceError::NotReady { .. } => Fault::Unavailable,
        InferenceError::Malformed { .. }
        | InferenceError::InvalidGraph { .. }
        | InferenceError::Unsupported { .. }
        | InferenceError::EngineAbsent { .. }
        | InferenceError::EngineFailed { .. }
        | InferenceError::Disagrees { .. } => Fault::Server,
    }
}

impl Diagnose for ServingError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "serving.unknown_model",
            Self::UnknownVersion { .. } => "serving.unknown_version",
            Self::InvalidVersion(_) => "serving.invalid_version",
            Self::UnknownOutput { .. } => "serving.unknown_output",
            Self::RepeatedOutput { .. } => "serving.repeated_output",
            Self::TooManyRows { .. } => "serving.too_many_rows",
            Self::Inference(problem) => problem.code(),
            Self::Overloaded { .. } => "serving.overloaded",
            Self::Load { .. } => "serving.load",
            Self::EngineFailed { .. } => "serving.engine_failed",
            Self::MissingOutput { .. } => "serving.missing_output",
            Self::LogBroken { .. } => "serving.log_broken",
            Self::LogClosed => "serving.log_closed",
            Self::LogLost { .. } => "serving.log_lost",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Inference(problem) => return problem.hint(),
            Self::Load { problem, .. } => return problem.hint(),
            Self::UnknownModel { .. } => "add the model to `[serve] models` in ropewalk.toml, or check its name",
            Self::UnknownVersion { .. } | Self::InvalidVersion(_) => "leave the version out to take the default one",
            Self::UnknownOutput { .. } | Self::RepeatedOutput { .. } => "leave the outputs out to get all of them",
            Self::TooManyRows { .. } => "send the rows in several requests",
            Self::Overloaded { .. } => "try again after a moment, or serve with more cores",
            Self::LogBroken { .. } | Self::LogLost { .. } => {
                "make the log's folder writable again: see its disk's space and permissions"
            }
            Self::LogClosed => "the server is stopping: ask the one that takes its place",
            Self::EngineFailed { .. } | Self::MissingOutput { .. } => {
                "this is a defect of the engine: report it with the model"
            }
        };
        Some(text.to_owned())
    }
}
