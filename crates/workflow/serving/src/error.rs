use std::time::Duration;

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
    /// A route cannot be followed.
    #[error("the route of model `{model}` cannot be followed: {problem}")]
    InvalidRoute {
        /// The model.
        model: String,
        /// What is wrong, as a clause.
        problem: String,
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
    /// As many requests wait for this model as may wait.
    #[error("{waiting} requests wait for model `{model}`, no more are taken")]
    Overloaded {
        /// The model.
        model: String,
        /// Requests that wait.
        waiting: usize,
        /// When the queue will have been worked off, by what evaluations have cost so far.
        retry_after: Duration,
    },
    /// As much is inside the whole host as may be.
    #[error("the server is full: {limit} {what} are inside, no more are taken")]
    HostFull {
        /// What is counted.
        what: &'static str,
        /// How much of it may be inside.
        limit: u64,
    },
    /// The request waited for its turn as long as it was allowed to, and was not evaluated.
    #[error("the request timed out: it waited {waited:?} for model `{model}` and was not evaluated")]
    DeadlineExceeded {
        /// The model.
        model: String,
        /// How long it waited.
        waited: Duration,
    },
    /// The model is known, but cannot answer now.
    #[error("model `{model}` is not ready: {reason}")]
    NotReady {
        /// The model, with its version where one was asked for.
        model: String,
        /// Why.
        reason: String,
    },
    /// The host takes no more requests because it is about to stop.
    #[error("the server is stopping and takes no more requests")]
    Draining,
    /// The threads for evaluations cannot be started.
    #[error("cannot start the threads for evaluations: {problem}")]
    Threads {
        /// What the system said.
        problem: String,
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

/// Who has to act on an error; each protocol maps it to its own words in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong and will be wrong again.
    Request,
    /// The request asks for what is not here.
    NotFound,
    /// The request is over a limit.
    TooLarge,
    /// More is asked of one model than it can answer: the request may succeed later (429, Retry-After).
    Overloaded,
    /// The request's deadline passed while it waited (504). Not 503, by which Triton says it: the limit was the
    /// client's or the model's, and a client that tries again at once makes it worse.
    Late,
    /// The request is right and may succeed later (503, Retry-After).
    Unavailable,
    /// We failed.
    Server,
}

impl ServingError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => Fault::NotFound,
            Self::InvalidRoute { .. }
            | Self::InvalidVersion(_)
            | Self::UnknownOutput { .. }
            | Self::RepeatedOutput { .. } => Fault::Request,
            Self::TooManyRows { .. } => Fault::TooLarge,
            Self::Overloaded { .. } => Fault::Overloaded,
            Self::DeadlineExceeded { .. } => Fault::Late,
            Self::HostFull { .. }
            | Self::NotReady { .. }
            | Self::Draining
            | Self::LogBroken { .. }
            | Self::LogClosed
            | Self::LogLost { .. } => Fault::Unavailable,
            Self::Inference(problem) => inference_fault(problem),
            Self::Load { .. } | Self::Threads { .. } | Self::EngineFailed { .. } | Self::MissingOutput { .. } => {
                Fault::Server
            }
        }
    }

    /// After how long the same request may succeed; none where trying again is of no use or nobody knows when it is.
    pub fn retry_after(&self) -> Option<Duration> {
        match (self, self.fault()) {
            (Self::Overloaded { retry_after, .. }, _) => Some(*retry_after),
            (_, Fault::Unavailable) => Some(RETRY),
            _ => None,
        }
    }
}

impl Fault {
    /// The status by which HTTP says it (RFC 9110 section 15, RFC 6585 section 4), in every protocol alike.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Request => 400,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Overloaded => 429,
            Self::Late => 504,
            Self::Unavailable => 503,
            Self::Server => 500,
        }
    }
}

/// A wait as `Retry-After` has it (RFC 9110 section 10.2.3): rounded up, for a client that comes early is refused
/// again.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// When a client may try again that could not be answered for a reason that passes.
const RETRY: Duration = Duration::from_secs(1);

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
            Self::InvalidRoute { .. } => "serving.invalid_route",
            Self::InvalidVersion(_) => "serving.invalid_version",
            Self::UnknownOutput { .. } => "serving.unknown_output",
            Self::RepeatedOutput { .. } => "serving.repeated_output",
            Self::TooManyRows { .. } => "serving.too_many_rows",
            Self::Inference(problem) => problem.code(),
            Self::Overloaded { .. } => "serving.overloaded",
            Self::HostFull { .. } => "serving.host_full",
            Self::DeadlineExceeded { .. } => "serving.deadline_exceeded",
            Self::NotReady { .. } => "serving.not_ready",
            Self::Draining => "serving.draining",
            Self::Threads { .. } => "serving.threads",
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
            Self::InvalidRoute { .. } => "correct `[serve.route]` of the model, and load the versions that it names",
            Self::UnknownOutput { .. } | Self::RepeatedOutput { .. } => "leave the outputs out to get all of them",
            Self::TooManyRows { .. } => "send the rows in several requests",
            Self::Overloaded { .. } | Self::HostFull { .. } => "try again after a moment, or serve with more cores",
            Self::DeadlineExceeded { .. } => "give it more time, send less at once, or serve with more cores",
            Self::NotReady { .. } => "ask for the model's readiness, and try again when it is ready",
            Self::Threads { .. } => "check the model's `cpus` and `concurrency`, and the system's limit of threads",
            Self::Draining => "ask the server that takes its place",
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
